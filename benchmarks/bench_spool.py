"""Do logged prompts survive the ledger being down and the API being killed, and who waits for that?

Real ``python -m serve`` with a real vLLM engine and a real Redis that syncs every write. Three parts in one run:
``survival`` (chats while Redis is dead, the API killed in between), ``latency`` (windows with the ledger up and down
in turn; down is dead or frozen in turn), ``drain`` (a full spool while chats go on).
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.chats import Chat, Chats
from benchmarks.common import Bar, Server, log, percentile, report
from feedback import interactions, keys
from feedback.client import encode
from feedback.ids import new_id
from feedback.records import Interaction, Message, utc_now
from serve.recording.spool import Spool

DIRECTORY = Path("var/bench/spool")
PARTS = ("survival", "latency", "drain")
CHATS, KILLS = 1_000, 3
PAIRS, WINDOW_S = 6, 10.0
RECORDS, ROUNDS = 30_000, 3
SETTLE_S = 2.0
"""Beginning of a window that is not measured."""
LAST = 50
"""More than the chats that can end at the same moment."""
RELAY_S = 60.0
"""Longest that an empty spool is waited for."""


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_spool", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter windows, to see that it runs")
    parser.add_argument("--only", choices=PARTS, help="measure one part and write no report")
    given = parser.parse_args()
    pairs, window_s, rounds = (2, 4.0, 1) if given.quick else (PAIRS, WINDOW_S, ROUNDS)
    found: dict[str, dict[str, Any]] = {}
    with Server(DIRECTORY) as server:
        server.wait_ready(slots=2)
        for part in [given.only] if given.only else PARTS:
            if part == "survival":
                found[part] = survival(server)
            elif part == "latency":
                found[part] = latencies(server, pairs, window_s)
            else:
                found[part] = drains(server, rounds, window_s)
            log(f"{part}: {found[part]}")
    if not given.only:
        report("spool", found, bars(found))


def bars(found: dict[str, dict[str, Any]]) -> list[Bar]:
    """Return what was promised beside what was measured."""
    survived, drained = found["survival"], found["drain"]
    return [
        Bar("chats", survived["complete"], ">=", CHATS),
        Bar("api_kills", survived["kills"], ">=", KILLS),
        Bar("lost", survived["lost"], "==", 0),
        Bar("duplicated", survived["duplicated"], "==", 0),
        Bar("added_p99_ms", found["latency"]["added_p99_ms"], "<=", 25),
        Bar("drain_records_per_s", drained["records_per_s"]["median"], ">=", 1_000),
        Bar("drain_p99_ratio", drained["p99_ratio"]["median"], "<=", 1.2),
    ]


def survival(server: Server) -> dict[str, Any]:
    """Chat while Redis is dead and the API is killed; then compare the ledger with what callers saw complete."""
    chats = Chats(server.port, server.keys["client"])
    chats.run(lambda: len(chats.answered) >= 20)
    before = len(chats.answered)
    server.kill_redis()
    log("the ledger is dead")
    chats.start()
    restarts_s = []
    for kill in range(1, KILLS + 1):
        _wait(lambda mark=before + kill * CHATS // (KILLS + 1): len(chats.answered) >= mark, 300)
        server.kill()
        restarts_s.append(server.restart())
        log(f"killed the API at {len(chats.answered) - before} chats; ready again after {restarts_s[-1]:.1f} s")
    _wait(lambda: len(chats.answered) - before >= CHATS, 300)
    chats.stop()
    complete = len(chats.answered) - before
    server.start_redis()
    relayed_s = _until_relayed(server, [chat.id for chat in chats.answered])
    return {
        "complete": complete,
        "kills": len(restarts_s),
        "restart_s": [round(each, 2) for each in restarts_s],
        "failures_seen_by_callers": chats.failures,
        "relayed_within_s": round(relayed_s, 2),
        **compare(server, chats.answered),
        "logged_but_cut_off_on_the_way_to_the_caller": interactions.count(server.ledger) - len(chats.answered),
    }


def compare(server: Server, seen: list[Chat]) -> dict[str, Any]:
    """Return how many chats that callers saw complete are not in the ledger as they saw them, or more than once."""
    logged = [each for _, each in interactions.read(server.ledger)]
    times = Counter(each.id for each in logged)
    texts = {each.id: each.completion for each in logged}
    return {
        "lost": sum(chat.id not in times for chat in seen),
        "different": sum(chat.id in texts and texts[chat.id] != chat.text for chat in seen),
        "duplicated": sum(count - 1 for count in times.values()),
    }


def latencies(server: Server, pairs: int, window_s: float) -> dict[str, Any]:
    """Return how long chats take with the ledger up and down, windows of both in turn."""
    chats = Chats(server.port, server.keys["client"])
    took: dict[str, list[float]] = {"up": [], "dead": [], "frozen": []}
    differences: list[float] = []
    chats.run_for(SETTLE_S)
    for pair in range(pairs):
        kind = "dead" if pair % 2 == 0 else "frozen"
        found: dict[str, list[float]] = {}
        for state in ("up", kind) if pair % 4 < 2 else (kind, "up"):
            found[state] = _window(server, chats, state, window_s)
            took[state] += found[state]
        differences.append(1000 * (percentile(found[kind], 99) - percentile(found["up"], 99)))
        log(f"pair {pair + 1} of {pairs}, {kind}: p99 {differences[-1]:+.1f} ms")
    down = took["dead"] + took["frozen"]
    return {
        "windows": 2 * pairs,
        "window_s": window_s,
        "chats": {state: len(values) for state, values in took.items()},
        **{
            f"{name}_ms": {state: round(1000 * percentile(values, q), 1) for state, values in took.items()}
            for name, q in (("p50", 50), ("p99", 99), ("slowest", 100))
        },
        "added_p99_ms": round(1000 * (percentile(down, 99) - percentile(took["up"], 99)), 2),
        "added_p99_ms_by_pair": [round(each, 1) for each in differences],
        "failures": chats.failures,
        **compare(server, chats.answered),
    }


def _window(server: Server, chats: Chats, state: str, window_s: float) -> list[float]:
    """Return seconds per chat with the ledger in a state; leaves it up and the spool empty."""
    if state == "dead":
        server.kill_redis()
    elif state == "frozen":
        os.kill(server.redis_pid, signal.SIGSTOP)
    began = time.monotonic()
    found = chats.run_for(window_s + SETTLE_S)
    if state == "dead":
        server.start_redis()
    elif state == "frozen":
        os.kill(server.redis_pid, signal.SIGCONT)
    _until_relayed(server, [chat.id for chat in found])
    return [chat.took_s for chat in found if chat.began >= began + SETTLE_S]


def drains(server: Server, rounds: int, window_s: float) -> dict[str, Any]:
    """Return how fast a full spool gets into the ledger while chats go on, and how much slower those are meanwhile."""
    rates, ratios = [], []
    for number in range(rounds):
        server.stop()
        last_id = fill(server.directory / "spool" / "bench", RECORDS)
        os.kill(server.redis_pid, signal.SIGSTOP)
        server.start()
        server.wait_ready()
        _wait(lambda: _warm_slots(server) >= 2, 120)  # an engine that starts beside would be measured too
        chats = Chats(server.port, server.keys["client"])
        chats.run_for(SETTLE_S)
        chats.start()
        began = time.monotonic()
        os.kill(server.redis_pid, signal.SIGCONT)
        _until_relayed(server, [last_id], 5 * RELAY_S)
        ended = time.monotonic()
        chats.stop()
        during = [chat.took_s for chat in chats.answered if began <= chat.began <= ended]
        _until_relayed(server, [chat.id for chat in chats.answered])
        quiet = [chat.took_s for chat in chats.run_for(max(window_s, ended - began))]
        rates.append(RECORDS / (ended - began))
        ratios.append(percentile(during, 99) / percentile(quiet, 99))
        log(f"round {number + 1} of {rounds}: {rates[-1]:.0f} records/s, {len(during)} chats, p99 x {ratios[-1]:.2f}")
    return {"records": RECORDS, "rounds": rounds, "records_per_s": _range(rates), "p99_ratio": _range(ratios)}


def _warm_slots(server: Server) -> int:
    """Return how many slots hold a version, by the server's own metrics: its heartbeat goes to the frozen ledger."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return len(re.findall(r"^whetstone_slot_info\{[^}]*\} 1", text, re.MULTILINE))


def fill(directory: Path, count: int) -> str:
    """Write records into a spool that nobody uses now; return the id of the last."""
    spool = Spool(directory, 256 << 20, 4 << 20)
    records = [_record(number) for number in range(count)]
    for start in range(0, count, 1000):
        batch = [(each.id, encode(each).encode()) for each in records[start : start + 1000]]
        assert spool.append(batch) == len(batch), "the spool is full"
    spool.close()
    return records[-1].id


def _record(number: int) -> Interaction:
    return Interaction(
        id=new_id("chatcmpl"),
        created_at=utc_now(),
        customer="alice",
        key_id="key_bench",
        messages=[Message(role="user", content=f"Tell me about number {number}. " + "It matters to me. " * 10)],
        completion="A number that many like, and some do not. " * 5,
        finish_reason="stop",
        policy_version="policy-0000",
        sampling={"temperature": 0.7, "max_tokens": 64},
        prompt_tokens=60,
        completion_tokens=50,
        latency_s=0.5,
    )


def _until_relayed(server: Server, ids: list[str], deadline_s: float = RELAY_S) -> float:
    """Wait until the ledger has these interactions; return how many seconds that took.

    Records arrive in order, so the last few tell of all; what never arrives is for `compare` to find.
    """
    began = time.monotonic()
    wanted = [keys.interaction(id) for id in ids[-LAST:]]
    with suppress(TimeoutError):
        _wait(lambda: server.ledger.redis.exists(*wanted) == len(wanted), deadline_s)
    return time.monotonic() - began


def _wait(condition: Any, deadline_s: float) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.02)


def _range(values: list[float]) -> dict[str, float]:
    return {
        "median": round(percentile(values, 50), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


if __name__ == "__main__":
    main()
