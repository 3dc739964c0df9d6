"""Is every item handed out exactly as often as it should be, fast enough, and as fast with a million open?

Real ``python -m serve`` without an engine, real Redis with the ledger's own configuration (every write synced before it
is acknowledged), labelers over HTTP. Three parts in one run: ``quota`` (50 labelers at once, some of whom never come
back to an item; overlap 1 and 2), ``rate`` (lease and submit as fast as it goes), ``size`` (1,000 open comparisons and
1,000,000, in turn). What is judged is what the labelers themselves wrote down.
"""

from __future__ import annotations

import argparse
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import redis

from benchmarks.callers import Given, Record, Shift, work
from benchmarks.common import Bar, log, percentile, report
from benchmarks.front import Front
from benchmarks.open_items import fill
from feedback import leases, queues
from feedback.client import Ledger

DIRECTORY = Path("var/bench/queue")
PARTS = ("quota", "rate", "size")
LABELERS, COMPARISONS = 50, 2_000
LEASE_S, VANISH = 10, 0.02
GRACE_S = 5.0
"""After its deadline an abandoned item has to be back within this."""
SWEEP_S = 5.0
"""As the workers' timetable has it."""
RATE_LABELERS, RATE_S, RATE_ROUNDS = 16, 5.0, 7
SMALL, LARGE = 1_000, 1_000_000
SIZE_LABELERS, SIZE_PAIRS, SIZE_ROUNDS = 4, 500, 11


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_queue", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and items, to see that it runs")
    parser.add_argument("--only", choices=PARTS, help="measure one part and write no report")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for part in [given.only] if given.only else PARTS:
        if part == "quota":
            found[part] = {f"overlap_{count}": quota(count, 200 if given.quick else COMPARISONS) for count in (1, 2)}
        elif part == "rate":
            found[part] = rate(2 if given.quick else RATE_ROUNDS)
        else:
            found[part] = size(20_000 if given.quick else LARGE, 2 if given.quick else SIZE_ROUNDS)
        log(f"{part}: {found[part]}")
    if not given.only:
        report("queue", found, bars(found))


def bars(found: dict[str, Any]) -> list[Bar]:
    """Return what was promised beside what was measured."""
    kept = [
        bar
        for name, each in found["quota"].items()
        for bar in (
            Bar(f"{name}_double_hand_outs", each["double_hand_outs"], "==", 0),
            Bar(f"{name}_over_quota", each["over_quota"], "==", 0),
            Bar(f"{name}_incomplete", each["incomplete"], "==", 0),
            Bar(f"{name}_abandoned", each["abandoned"], ">", 0),
            Bar(f"{name}_back_after_deadline_s", each["back_after_deadline_s"]["max"], "<=", GRACE_S),
        )
    ]
    return [
        *kept,
        Bar("pairs_per_s", found["rate"]["pairs_per_s"]["median"], ">=", 250),
        Bar("lease_p99_ratio", found["size"]["lease_p99_ratio"]["median"], "<=", 1.2),
        Bar("submit_p99_ratio", found["size"]["submit_p99_ratio"]["median"], "<=", 1.2),
    ]


def quota(overlap: int, count: int) -> dict[str, Any]:
    """Let 50 labelers empty a queue, some of whom leave items lying; judge by their own record."""
    with Front(DIRECTORY / f"overlap-{overlap}", LABELERS) as front, sweeping(front.ledger):
        queues.put(front.ledger, "training", overlap=overlap, lease_s=LEASE_S)
        ids = fill(front.ledger, count, overlap=overlap)
        shift = Shift(
            sites=[front.site],
            seconds=240.0,
            vanish=VANISH,
            until_empty=True,
            patience_s=LEASE_S + 2 * GRACE_S,
            seed=overlap,
        )
        record = work(shift)
    return judged(record, ids, overlap)


def judged(record: Record, ids: Sequence[str], overlap: int) -> dict[str, Any]:
    """Return what the labelers' own record says of doubles, quotas and abandoned items."""
    by_item: dict[str, list[Given]] = defaultdict(list)
    for each in record.given:
        by_item[each.item].append(each)
    answers = Counter(each.item for each in record.given if each.fate == "answered")
    delays = [delay for each in by_item.values() for delay in returns(each)]
    return {
        "labelers": LABELERS,
        "comparisons": len(ids),
        "hand_outs": len(record.given),
        "double_hand_outs": sum(doubles(each, overlap) for each in by_item.values()),
        "over_quota": sum(count > overlap for count in answers.values()),
        "incomplete": sum(answers[id] < overlap for id in ids),
        "refused_answers": dict(Counter(each.fate for each in record.given if each.fate.isdigit())),
        "abandoned": sum(each.fate == "vanished" for each in record.given),
        "back_after_deadline_s": spread(delays),
        "faults": record.faults,
        "seconds": round(record.seconds, 1),
    }


def doubles(given: Iterable[Given], overlap: int) -> int:
    """Return how often an item was handed out although all of its slots were taken, or to the same labeler again.

    A slot that is answered is taken for good, one that was left lying until its deadline.
    """
    found, before = 0, list[Given]()
    for each in sorted(given, key=lambda one: one.given_s):
        taken = [one for one in before if one.fate == "answered" or one.deadline_s > each.given_s]
        found += len(taken) >= overlap or any(one.labeler == each.labeler for one in taken)
        before.append(each)
    return found


def returns(given: Iterable[Given]) -> Iterator[float]:
    """Yield for each abandoned hand-out the seconds from its deadline until somebody was given the item again.

    Hand-outs of other slots before the deadline are none of its return; each later one answers one abandoned slot.
    """
    ordered = sorted(given, key=lambda one: one.given_s)
    later = [each.given_s for each in ordered]
    for left in sorted((each for each in ordered if each.fate == "vanished"), key=lambda one: one.deadline_s):
        following = next((at for at in later if at >= left.deadline_s), None)
        if following is not None:
            later.remove(following)
            yield following - left.deadline_s


def rate(rounds: int) -> dict[str, Any]:
    """Lease and submit as fast as it goes, in rounds."""
    found, waits = [], dict[str, list[float]](lease=[], submit=[])
    with Front(DIRECTORY / "rate", RATE_LABELERS) as front:
        fill(front.ledger, int((rounds + 1) * RATE_S * 1_500))
        for number in range(rounds + 1):
            record = work(Shift(sites=[front.site], seconds=RATE_S, seed=number))
            if number == 0:
                continue  # connections, caches, imports
            done = [each for each in record.given if each.fate == "answered"]
            found.append(len(done) / record.seconds)
            for name, times in timed(done).items():
                waits[name] += times
        stored = front.ledger.redis.config_get("appendfsync")["appendfsync"]
    return {
        "labelers": RATE_LABELERS,
        "appendfsync": stored,
        "pairs_per_s": spread(found),
        **{
            f"{name}_ms": {q: round(percentile(times, float(q[1:])), 2) for q in ("p50", "p99")}
            for name, times in waits.items()
        },
    }


def size(large: int, rounds: int) -> dict[str, Any]:
    """Lease and submit with few and with many open comparisons, item by item in turn; p99 by round."""
    p99: dict[str, dict[str, list[float]]] = {"small": defaultdict(list), "large": defaultdict(list)}
    levels = {"small": SMALL, "large": large}
    with Front(DIRECTORY / "small", SIZE_LABELERS) as small, Front(DIRECTORY / "large", SIZE_LABELERS) as many:
        fronts = {"small": small, "large": many}
        for number in range(rounds + 1):
            for name, front in fronts.items():
                missing = levels[name] + SIZE_PAIRS // 2 - leases.waiting(front.ledger, "training")
                fill(front.ledger, max(0, missing))
                if number == 0:
                    settled(front.ledger)
                    front.ledger.redis.config_resetstat()
            sites = [front.site for front in fronts.values()]
            record = work(Shift(sites=sites, seconds=120.0, pairs=len(sites) * SIZE_PAIRS, seed=number))
            for place, name in enumerate(fronts):
                done = [each for each in record.given if each.site == place and each.fate == "answered"]
                for what, times in timed(done).items() if number else ():  # the first round opens connections
                    p99[name][what].append(percentile(times, 99))
        waiting = {name: leases.waiting(front.ledger, "training") for name, front in fronts.items()}
        scripts = {name: script_us(front.ledger) for name, front in fronts.items()}
    ratios = {
        f"{what}_p99_ratio": spread([b / a for a, b in zip(p99["small"][what], p99["large"][what], strict=True)])
        for what in ("lease", "submit")
    }
    milliseconds = {f"{what}_p99_ms": {name: spread(p99[name][what]) for name in p99} for what in ("lease", "submit")}
    told = {"labelers": SIZE_LABELERS, "pairs_a_round": SIZE_PAIRS, "open_at_the_end": waiting, "script_us": scripts}
    return {**told, **ratios, **milliseconds}


def timed(done: Iterable[Given]) -> dict[str, list[float]]:
    """Return milliseconds of each lease and of each submit, as the labelers saw them."""
    found = list(done)
    return {
        "lease": [1e3 * (each.given_s - each.asked_s) for each in found],
        "submit": [1e3 * (each.answered_s - each.sent_s) for each in found],
    }


def script_us(ledger: Ledger) -> float:
    """Return the microseconds that a lease or submit takes inside Redis, on the average since its counters began."""
    return float(ledger.redis.info("commandstats")["cmdstat_evalsha"]["usec_per_call"])


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return how many values there are, their median and their ends."""
    if not values:
        return {"n": 0, "median": float("nan"), "min": float("nan"), "max": float("nan")}
    ends = {"median": median(values), "min": min(values), "max": max(values)}
    return {"n": len(values), **{name: round(value, 3) for name, value in ends.items()}}


def settled(ledger: Ledger) -> None:
    """Have the ledger's log rewritten once, if that is not under way, so that it does not fall into a round."""
    with suppress(redis.ResponseError):  # it is under way
        ledger.redis.bgrewriteaof()
    pause = threading.Event()
    while True:
        pause.wait(0.5)
        state = ledger.redis.info("persistence")
        if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
            return


@contextmanager
def sweeping(ledger: Ledger) -> Iterator[None]:
    """End overdue leases every few seconds, as the workers do."""
    over = threading.Event()

    def sweep() -> None:
        while not over.wait(SWEEP_S):
            leases.expire(ledger)

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
