"""Does an acknowledged label survive the ledger's Redis being killed, and would this benchmark see it if it did not?

Real ``python -m serve`` without an engine, a real Redis with the shipped configuration, eight labelers over HTTP. Redis
gets SIGKILL at 20 random moments during 2,000 submissions and is started again; a labeler sends a submission under its
id until it is acknowledged. What the labelers saw acknowledged is then held against the ledger and against the second
copy. The control does the same without an append-only file: there labels must be lost. Apart from that: how long a
submission takes that is on disk when it is answered.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.common import Bar, log, percentile, report
from benchmarks.desk import Book, Labeler, Sent
from benchmarks.front import Front
from deploy.stack import redis_service
from feedback import archives, copies, keys, labels, reconcile
from feedback.client import Ledger, decode, encode
from feedback.errors import LedgerUnavailable
from feedback.ids import new_id
from feedback.records import Comparison, Completion, Label, Message, utc_now

DIRECTORY = Path("var/bench/labels")
LABELERS = 8
SUBMISSIONS, KILLS = 2_000, 20
CONTROL_SUBMISSIONS, CONTROL_KILLS = 400, 4
SPARE = 400
"""More items than submissions: a lease whose answer died with Redis leaves its item with nobody for a while."""
DOWN_S = 0.5
"""Longest that Redis stays dead."""
JITTER_S = 0.02
COPY_S = 5.0
PACED_PER_S, PACED_S = 20.0, 30.0
WORDS = 60


class Ward(Front):
    """The front over a Redis that is killed; ``durable`` false takes its append-only file away."""

    def __init__(self, directory: Path, *, durable: bool) -> None:
        extra = {"WHETSTONE_MOST_LEASES": "100", "WHETSTONE_WHEN_NOT_DURABLE": "refuse" if durable else "warn"}
        super().__init__(directory, LABELERS, extra)
        self.durable = durable

    def start_redis(self) -> None:
        """Start Redis and wait until it answers."""
        service = redis_service("ledger", self.redis_port, self.directory / "redis")
        if not self.durable:
            service = replace(service, command=[*service.command, "--appendonly", "no"])
        self._supervisor.start(service)
        self._supervisor.wait(service)

    def dies(self, rng: random.Random) -> float:
        """Kill Redis now, start it after a moment, and return how many seconds nothing answered."""
        began = time.monotonic()
        self.kill_redis()
        time.sleep(rng.uniform(0, DOWN_S))
        self.start_redis()
        return time.monotonic() - began


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_labels", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of the moments")
    parser.add_argument("--quick", action="store_true", help="fewer submissions and kills, to see that it runs")
    given = parser.parse_args()
    most, kills, paced_s = (200, 3, 3.0) if given.quick else (SUBMISSIONS, KILLS, PACED_S)
    log(f"seed {given.seed}")
    with Ward(DIRECTORY / "kept", durable=True) as ward:
        latency = latencies(ward, paced_s)
        log(f"latency: {latency}")
        kept = killed(ward, most, kills, random.Random(given.seed))
        log(f"kept: {kept}")
    with Ward(DIRECTORY / "control", durable=False) as ward:
        control = killed(ward, CONTROL_SUBMISSIONS, CONTROL_KILLS, random.Random(given.seed + 1))
        log(f"control: {control}")
    found = {"seed": given.seed, "latency": latency, "kept": kept, "control": control}
    report("labels", found, bars(found))


def bars(found: Mapping[str, Any]) -> list[Bar]:
    """Return what was promised beside what was measured."""
    kept, control = found["kept"], found["control"]
    return [
        Bar("acknowledged", kept["acknowledged"], ">=", SUBMISSIONS),
        Bar("kills", kept["kills"], ">=", KILLS),
        Bar("lost", kept["lost"], "==", 0),
        Bar("duplicated", kept["duplicated"], "==", 0),
        Bar("different", kept["different"], "==", 0),
        Bar("submissions_refused", sum(kept["refused"].values()), "==", 0),
        Bar("lost_in_copy", kept["copy"]["lost"], "==", 0),
        Bar("duplicated_in_copy", kept["copy"]["duplicated"], "==", 0),
        Bar("front_restarts", kept["front_restarts"], "==", 0),
        Bar("control_lost", control["lost"], ">", 0),
    ]


def killed(ward: Ward, most: int, kills: int, rng: random.Random) -> dict[str, Any]:
    """Let labelers work while Redis is killed; then compare what they saw acknowledged with what is there."""
    seed_items(ward.ledger, most + SPARE)
    known = keys_of(ward.ledger)
    book = Book(most=most)
    assert ward.process is not None
    front = ward.process.pid
    down_s, gone, before = [], 0, 0
    stop = threading.Event()
    copier = threading.Thread(target=copy_now_and_then, args=(ward, stop), daemon=True)
    copier.start()
    crew = [Labeler(ward.port, name, ward.keys[name], book) for name in ward.keys]
    for labeler in crew:
        labeler.start()
    for mark in moments(rng, most, kills):
        book.wait(mark)
        time.sleep(rng.uniform(0, JITTER_S))
        down_s.append(ward.dies(rng))
        if not ward.durable:
            seen = book.acknowledged()
            gone += compare(seen[before:], stored(ward.ledger))["lost"]
            before = len(seen)
            give_keys(ward.ledger, known)
            seed_items(ward.ledger, most)
    for labeler in crew:
        labeler.join()
    stop.set()
    copier.join()
    seen = book.acknowledged()
    found = {
        "acknowledged": len(seen),
        "kills": len(down_s),
        "down_s": {"median": round(percentile(down_s, 50), 2), "max": round(max(down_s), 2)},
        "submissions_sent_again": sum(sent.tries > 1 for sent in seen),
        "answered_as_repeated": sum(sent.repeated for sent in seen),
        "refused": book.refused,
        "front_restarts": int(ward.process.poll() is not None or ward.process.pid != front),
    }
    if not ward.durable:
        return {**found, "lost": gone}
    return {**found, **compare(seen, stored(ward.ledger)), "copy": copy_and_compare(ward, seen)}


def compare(seen: Sequence[Sent], there: Iterable[Label]) -> dict[str, int]:
    """Return how many acknowledged submissions are not there, not as they were sent, or there more than once."""
    found = list(there)
    times = Counter(label.id for label in found)
    answers = Counter((label.labeler, label.comparison_id) for label in found)
    rankings = {label.id: label.ranking for label in found}
    return {
        "lost": sum(sent.id not in times for sent in seen),
        "different": sum(sent.id in rankings and rankings[sent.id] != sent.ranking for sent in seen),
        "duplicated": sum(count - 1 for count in times.values()) + sum(count - 1 for count in answers.values()),
    }


def stored(ledger: Ledger) -> list[Label]:
    """Return the labels in the ledger."""
    return [label for _, label in labels.read(ledger)]


def copy_and_compare(ward: Ward, seen: Sequence[Sent]) -> dict[str, Any]:
    """Bring the second copy up to date and compare it with what labelers saw and with the ledger."""
    root = ward.directory / "artifacts"
    copies.copy(ward.ledger, root)
    rows = [decode(row.record, Label) for row in archives.read(root / "archive" / "labels")]
    differences = [each.name for each in reconcile.compare(ward.ledger, root) if not each.agrees]
    return {**compare(seen, rows), "kinds_that_differ_from_the_ledger": differences}


def copy_now_and_then(ward: Ward, stop: threading.Event) -> None:
    """Do what the workers do: copy every few seconds, through every kill."""
    ledger = Ledger(ward.environment["WHETSTONE_LEDGER_URL"])
    while ward.durable and not stop.wait(COPY_S):
        with suppress(LedgerUnavailable):
            copies.copy(ledger, ward.directory / "artifacts")


def latencies(ward: Ward, paced_s: float) -> dict[str, Any]:
    """Return how long submissions take that are on disk when they are answered: paced, and as fast as eight can."""
    found: dict[str, Any] = {}
    for name, most, per_s in (("paced", int(PACED_PER_S * paced_s), PACED_PER_S), ("at_full_speed", 1_000, 0.0)):
        seed_items(ward.ledger, most + LABELERS)
        book = Book(most=most, per_s=per_s)
        crew = [Labeler(ward.port, who, ward.keys[who], book) for who in ward.keys]
        began = time.monotonic()
        for labeler in crew:
            labeler.start()
        for labeler in crew:
            labeler.join()
        took = [1000 * sent.took_s for sent in book.acknowledged() if sent.tries == 1]
        found[name] = {
            "submissions": len(took),
            "lease_and_submit_per_s": round(len(took) / (time.monotonic() - began), 1),
            "submit_ms": {f"p{q}": round(percentile(took, q), 2) for q in (50, 99)},
        }
    return found


def moments(rng: random.Random, most: int, kills: int) -> list[int]:
    """Return after how many acknowledgements to kill: random, ascending, none so late that nothing follows."""
    return sorted(rng.sample(range(most // 50, most - most // 50), kills))


def seed_items(ledger: Ledger, count: int) -> None:
    """Open so many comparisons of four answers."""
    text = " ".join(f"word{number}" for number in range(WORDS))
    answer = Completion(text=text, policy_version="policy-0001", seed=0, temperature=1.0, finished=True)
    made = [msgspec.structs.replace(answer, seed=number) for number in range(4)]
    with ledger.reach() as client, client.pipeline(transaction=False) as line:
        for number in range(count):
            comparison = Comparison(
                id=new_id("cmp"),
                created_at=utc_now(),
                prompt_id=new_id("pro"),
                customer="acme",
                messages=[Message(role="user", content=f"question {number}")],
                split="train",
                k=4,
                completions=made,
            )
            line.set(keys.comparison(comparison.id), encode(comparison))
            score = time.time()
            state = {"queue": "training", "slots": 1, "score": score, "token": 0, "labels": 0}
            line.hset(keys.item(comparison.id), mapping=state)
            line.zadd(keys.queue("training"), {comparison.id: score})
        line.execute()


def keys_of(ledger: Ledger) -> dict[str, str]:
    """Return the API keys, as the ledger has them."""
    with ledger.reach() as client:
        return dict(client.hgetall(keys.API_KEYS))


def give_keys(ledger: Ledger, known: dict[str, str]) -> None:
    """Put API keys into a ledger that forgot them."""
    with ledger.reach() as client:
        client.hset(keys.API_KEYS, mapping=known)


if __name__ == "__main__":
    main()
