"""What happens when three times as much is asked as can be done? Two minutes of it, and one quiet key beside the flood.

Capacity is what a closed load keeps up at as many callers as there are places, measured before and after the flood.
The flood is an open load of several keys; none of them waits for answers. The quiet key asks once a second throughout.
"""

import argparse
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks import flood, load
from benchmarks.common import ROOT, Bar, Server, log, percentile, report
from benchmarks.flood import Fate, Flood, Source
from benchmarks.model import make_model
from feedback import access
from sandbox.corpus import documents

DIRECTORY = ROOT / "var" / "bench" / "overload"
PLACES = 16
TOKENS = 128
FLOODERS = 4
TIMES = 3.0
WINDOW_S = 10.0
REFUSED = (429, 503)


def capacity(server: Server, prompts: list[str], seconds: float) -> float:
    """Return how many requests a second the server completes under a closed load that fills it."""
    job = load.Job(
        url=server.url,
        model="live",
        key=server.keys["client"],
        prompts=prompts,
        concurrency=PLACES,
        seconds=seconds,
        tokens=TOKENS,
    )
    found = load.run(job)
    if found.faults:
        raise SystemExit(f"capacity: {len(found.faults)} of {len(found.answers)} failed: {found.faults[0]}")
    return found.tokens_per_s / TOKENS


def good(fates: Sequence[Fate]) -> list[Fate]:
    """Return those that were answered in full."""
    return [fate for fate in fates if fate.status == 200 and not fate.fault]


def goodput(fates: Sequence[Fate], seconds: float) -> list[float]:
    """Return completed requests a second, for each window of the flood but the first, in which the places fill."""
    windows = Counter(int((fate.due_s + fate.late_s + fate.took_s) / WINDOW_S) for fate in good(fates))
    return [windows[number] / WINDOW_S for number in range(1, int(seconds / WINDOW_S))]


def measure(server: Server, prompts: list[str], seconds: float, settle_s: float) -> dict[str, Any]:
    """Return all figures."""
    keys = [access.create(server.ledger, "client", f"flooder-{number}")[0] for number in range(FLOODERS)]
    quiet = access.create(server.ledger, "client", "quiet")[0]
    capacity(server, prompts, 5.0)  # warm
    log("the quiet key alone")
    alone = flood.run(
        Flood(
            url=server.url, sources=[Source(key=quiet, per_second=1)], seconds=settle_s, prompts=prompts, tokens=TOKENS
        )
    )
    before = capacity(server, prompts, settle_s)
    log(f"capacity {before:.2f} requests/s; now {TIMES:g} times that for {seconds:g} s")
    sources = [Source(key=key, per_second=TIMES * before / FLOODERS) for key in keys]
    fates = flood.run(
        Flood(
            url=server.url,
            sources=[*sources, Source(key=quiet, per_second=1)],
            seconds=seconds,
            prompts=prompts,
            tokens=TOKENS,
        )
    )
    after = capacity(server, prompts, settle_s)
    log(f"capacity afterwards {after:.2f} requests/s")
    served = goodput(fates, seconds)
    refused = [fate for fate in fates if fate.status in REFUSED]
    hushed = [fate for fate in fates if fate.source == FLOODERS]
    usual = statistics.fmean([before, after])
    return {
        "places": PLACES,
        "tokens_per_answer": TOKENS,
        "capacity_per_s": {"before": before, "after": after},
        "offered_per_s": TIMES * before + 1,
        "requests": len(fates),
        "statuses": {str(status): count for status, count in sorted(Counter(fate.status for fate in fates).items())},
        "faults": [fate.fault for fate in fates if fate.fault][:5],
        "goodput_per_s": {"median": statistics.median(served), "least": min(served), "most": max(served)},
        "goodput_share": statistics.median(served) / usual,
        "refusals": {
            "count": len(refused),
            "p50_ms": 1000 * percentile([fate.took_s for fate in refused], 50),
            "p99_ms": 1000 * percentile([fate.took_s for fate in refused], 99),
            "max_ms": 1000 * max(fate.took_s for fate in refused),
            "without_retry_after": sum(1 for fate in refused if not fate.retry_after),
        },
        "served_seconds": {
            "p50": percentile([fate.took_s for fate in good(fates)], 50),
            "p99": percentile([fate.took_s for fate in good(fates)], 99),
        },
        "quiet": {
            "asked": len(hushed),
            "answered": len(good(hushed)),
            "success": len(good(hushed)) / len(hushed),
            "p95_s": percentile([fate.took_s for fate in good(hushed)], 95),
            "alone_p95_s": percentile([fate.took_s for fate in good(alone)], 95),
        },
        "client_late_p99_ms": 1000 * percentile([fate.late_s for fate in fates], 99),
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="length of the overload")
    parser.add_argument("--settle", type=float, default=20.0, help="length of the loads before and after")
    given = parser.parse_args()
    prompts = [text[:120] for text in documents(600, seed=7)]
    settings = {
        "WHETSTONE_MAX_RUNNING": str(PLACES),
        "WHETSTONE_MAX_TOKENS": str(TOKENS),
        "WHETSTONE_MAX_MODEL_LEN": "512",
    }
    with Server(DIRECTORY, model=make_model(DIRECTORY.with_name("overload-model")), extra=settings) as server:
        server.wait_ready(slots=2)
        figures = measure(server, prompts, given.seconds, given.settle)
    odd = {status: count for status, count in figures["statuses"].items() if int(status) not in (200, *REFUSED)}
    report(
        "overload",
        figures,
        [
            Bar("goodput / capacity at 3x overload", figures["goodput_share"], ">=", 0.9),
            Bar("slowest refusal, ms", figures["refusals"]["max_ms"], "<=", 100),
            Bar("refusals without Retry-After", figures["refusals"]["without_retry_after"], "==", 0),
            Bar("answers that are neither 200, 429 nor 503", sum(odd.values()) + len(figures["faults"]), "==", 0),
            Bar("success of the quiet key", figures["quiet"]["success"], ">=", 0.99),
        ],
    )


if __name__ == "__main__":
    main()
