"""Does sampling survive its workers? 1,000 comparisons while the whole worker group is killed every 5 s.

Real ``python -m serve`` with vLLM, two real Redis, real Celery workers and beat. The group (parent and pool processes)
gets SIGKILL and is started again at once, until every comparison has its completions. Then a control of the usual
design: one message for each comparison and nobody who looks again (no beat, so neither sweep nor curation).
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from celery import Celery

from benchmarks.common import ROOT, Bar, Server, log, percentile, report
from benchmarks.killing import KILL_EVERY_S, Beat, Group, Killing, kill_until_done, wait
from deploy.stack import redis_service
from deploy.supervisor import Supervisor, free_port
from feedback import access, comparisons, keys
from feedback.client import Ledger
from feedback.ids import new_id
from feedback.records import Comparison, Message, Prompt, utc_now
from sandbox.corpus import documents

DIRECTORY = ROOT / "var" / "bench" / "sampling"
COMPARISONS, K, TOKENS = 1_000, 4, 16
TEMPERATURE = 1.5
"""At 1 the sandbox's base model repeats itself on two prompts in a hundred, and K shrinks there; this is about
something else."""
STALL_S = 45.0
"""A control in which nothing was stored for so long, with the workers alive, has stalled; three times the recovery bar,
and well below the 300 s after which the broker gives an unacknowledged message out again."""


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_sampling", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer comparisons, to see that it runs; no report")
    given = parser.parse_args()
    count, control = (100, 60) if given.quick else (COMPARISONS, COMPARISONS)
    load_before = os.getloadavg()[0]
    settings = {"WHETSTONE_SLOTS": "1"}
    with Server(DIRECTORY, extra=settings) as server, Supervisor(DIRECTORY / "broker-logs") as supervisor:
        broker = redis_service("broker", free_port(), DIRECTORY / "broker")
        supervisor.start(broker)
        supervisor.wait(broker)
        broker_url = f"redis://127.0.0.1:{broker.command[broker.command.index('--port') + 1]}/0"
        environment = worker_environment(server, broker_url)
        group = Group(environment, DIRECTORY / "workers.log")
        start_s = start_up_s(server.ledger, group)
        log(f"a worker samples {start_s:.2f} s after it was started")
        ids = plan(server.ledger, count)
        with Beat(environment, DIRECTORY / "beat.log"):
            group.start()
            seen = kill_until_done(server.ledger, group)
            group.kill()
        found = {"start_up_s": start_s, **outcome(server.ledger, ids, seen)}
        log(f"with the sweeper: {found}")
        without = run_control(server.ledger, group, broker_url, control)
        log(f"without: {without}")
    figures = {
        "with_sweeper": found,
        "control": without,
        "kill_every_s": KILL_EVERY_S,
        "tokens": TOKENS,
        "temperature": TEMPERATURE,
        "load_before": round(load_before, 2),
    }
    if not given.quick:
        report("sampling", figures, bars(found, without, count))


def bars(found: dict[str, Any], control: dict[str, Any], count: int) -> list[Bar]:
    """Return what was promised beside what was measured."""
    return [
        Bar("complete", found["complete"], "==", count),
        Bar("exactly_k_distinct", found["exactly_k"], "==", count),
        Bar("queued_once", found["queued_once"], "==", count),
        Bar("recovery_p95_s", found["recovery_s"]["p95"], "<=", 15),
        Bar("kills", found["kills"], ">=", 10),
        Bar("control_left_incomplete", control["left"], ">", 0),
    ]


def worker_environment(server: Server, broker_url: str) -> dict[str, str]:
    """Return the settings of workers and beat: the shipped defaults, and where everything is."""
    secret, _ = access.create(server.ledger, "client", "sampler", consent=False)
    return {
        **server.environment,
        "WHETSTONE_BROKER_URL": broker_url,
        "WHETSTONE_SERVE_URL": server.url,
        "WHETSTONE_SAMPLER_KEY": secret,
        "WHETSTONE_SAMPLING_MAX_TOKENS": str(TOKENS),
        "WHETSTONE_SAMPLING_TEMPERATURE": str(TEMPERATURE),
    }


def plan(ledger: Ledger, count: int) -> list[str]:
    """Wish for ``count`` comparisons of different prompts; return their ids."""
    questions = [text.partition("\nanswer:")[0].removeprefix("question: ") for text in documents(4 * count, seed=23)]
    different = list(dict.fromkeys(questions))
    texts = [different[number % len(different)] + " " * (number // len(different)) for number in range(count)]
    ids = []
    for number, text in enumerate(texts):
        prompt = Prompt(
            id=new_id("pro"),
            created_at=utc_now(),
            customer=f"customer {number % 20}",
            messages=[Message(role="user", content=text)],
            split="train",
        )
        ids.append(comparisons.plan(ledger, prompt, K).id)
    return ids


def start_up_s(ledger: Ledger, group: Group) -> float:
    """Return the seconds from the start of a worker, with a hint waiting, to its first claim."""
    plan(ledger, 1)
    send_hints(group.environment["WHETSTONE_BROKER_URL"], 1)
    began = time.monotonic()
    group.start()
    if not wait(lambda: int(ledger.redis.get(keys.SAMPLING_TOKEN) or 0) > 0, 60):
        raise SystemExit("no worker claimed anything within a minute")
    took_s = time.monotonic() - began
    wait(lambda: not comparisons.being_sampled(ledger), 60)
    group.kill()
    return round(took_s, 2)


def send_hints(broker_url: str, count: int) -> None:
    """Publish ``sample`` that often, as a design would that trusts its messages."""
    app = Celery(broker=broker_url, set_as_current=False)
    for _ in range(count):
        app.send_task("sample", queue="sampling")
    app.close()


def run_control(ledger: Ledger, group: Group, broker_url: str, count: int) -> dict[str, Any]:
    """Publish one message for each comparison and let nobody look again; the same kills, then wait for what comes."""
    ids = plan(ledger, count)
    send_hints(broker_url, count)
    group.start()
    seen = kill_until_done(ledger, group, stall_s=STALL_S, kills=6)
    group.kill()
    done = [each for each in comparisons.get_many(ledger, ids) if each is not None and each.completions]
    return {
        "comparisons": count,
        "messages": count,
        "complete": len(done),
        "left": seen.left,
        "seconds_without_progress": round(seen.stalled_s, 1),
        "kills": seen.kills,
    }


def outcome(ledger: Ledger, ids: Sequence[str], seen: Killing) -> dict[str, Any]:
    """Return what became of the comparisons."""
    found = comparisons.get_many(ledger, list(ids))
    complete = [each for each in found if each is not None and each.completions]
    queued = Counter(str(id) for id in ledger.redis.zrange(keys.queue("training"), 0, -1))
    return {
        "comparisons": len(ids),
        "complete": len(complete),
        "exactly_k": sum(is_whole(each) for each in complete),
        "made_smaller": sum(each.k < K for each in complete),
        "queued_once": sum(queued[id] == 1 for id in ids),
        "buried": comparisons.buried(ledger),
        "kills": seen.kills,
        "claims_lost_to_kills": int(ledger.redis.get(keys.SAMPLING_TOKEN) or 0) - len(ids) - 1,
        "seconds": round(seen.seconds, 1),
        "recovery_s": {
            "n": len(seen.recoveries_s),
            "p50": round(percentile(seen.recoveries_s, 50), 2),
            "p95": round(percentile(seen.recoveries_s, 95), 2),
            "max": round(max(seen.recoveries_s, default=0.0), 2),
        },
    }


def is_whole(comparison: Comparison) -> bool:
    """Tell whether a comparison has K completions, no two with the same text or the same seed of the same version."""
    texts = {each.text.strip() for each in comparison.completions}
    seeds = {(each.policy_version, each.seed) for each in comparison.completions}
    return comparison.k == len(comparison.completions) == len(texts) == len(seeds) == K


if __name__ == "__main__":
    main()
