"""How long do sameness, caps and splits of a million prompts take, and is every planted case found?

Three parts: ``memory`` (one process, 100,000 and 1,000,000 made-up prompts in turn), ``masking`` (prompts per
CPU-second, apart), ``ledger`` (the script ``keep`` in a real Redis that syncs every write, with nothing kept and with
200,000 prompts kept, in turn).
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import Bar, log, report
from benchmarks.planted import Asked, Made, make, personal
from deploy.stack import redis_service
from deploy.supervisor import Supervisor, free_port
from feedback import keys, prompts
from feedback.client import Ledger, encode
from feedback.curation import Rules, mask, prefixes, text_of
from feedback.curation.batch import judge
from feedback.records import Prompt, utc_now

DIRECTORY = Path("var/bench/curation")
PARTS = ("memory", "masking", "ledger")
MILLION, TENTH = 1_000_000, 100_000
RUNS = 5
MASKED, MASKED_SHARE = 4_000, 0.05
KEPT, KEEPS = 200_000, 1_000
RULES = Rules()


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_curation", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="measure one part and write no report")
    given = parser.parse_args()
    measures = {"memory": memory, "masking": masking, "ledger": ledger}
    found: dict[str, dict[str, Any]] = {}
    for part in [given.only] if given.only else PARTS:
        found[part] = measures[part]()
        log(f"{part}: {found[part]}")
    if not given.only:
        report("curation", found, bars(found))


def bars(found: dict[str, dict[str, Any]]) -> list[Bar]:
    """Return what was promised beside what was measured."""
    inside, masked = found["memory"], found["masking"]
    return [
        Bar("seconds_for_1000000", inside["seconds_for_1000000"], "<=", 60),
        Bar("cpu_time_per_prompt_1000000_to_100000", inside["cpu_time_per_prompt_ratio"], "<=", 1.3),
        Bar("wrong_verdicts", inside["wrong_verdicts"], "==", 0),
        Bar("customers_in_two_splits", inside["customers_in_two_splits"], "==", 0),
        Bar("personal_data_missed", masked["missed"], "==", 0),
        Bar("ordinary_texts_changed", masked["changed_without_need"], "==", 0),
    ]


def memory() -> dict[str, Any]:
    """Return how long small and large batches take, in turn, and how many verdicts differ from what was planted."""
    small, large = make(TENTH), make(MILLION, seed=2)
    log(f"made {len(large.asked)} prompts; planted {large.planted}")
    took: dict[int, list[float]] = {TENTH: [], MILLION: []}
    worked: dict[int, list[float]] = {TENTH: [], MILLION: []}
    wrong = split = 0
    for run in range(RUNS):
        for made in (small, large) if run % 2 else (large, small):
            began, worked_s = time.perf_counter(), time.process_time()
            verdicts = list(judge(made.asked, RULES))
            took[len(made.asked)].append(time.perf_counter() - began)
            worked[len(made.asked)].append(time.process_time() - worked_s)
            outcomes: Counter[str] = Counter(each.outcome for each in verdicts)
            wrong += differences(made, dict(outcomes))
            split += in_two_splits(made.asked, [each.split for each in verdicts])
        log(f"run {run + 1} of {RUNS}: {took[MILLION][-1]:.1f} s for {MILLION}")
    seconds = {size: median(values) for size, values in took.items()}
    cpu = {size: median(values) for size, values in worked.items()}
    return {
        "prompts": MILLION,
        "planted": large.planted,
        "outcomes": large.outcomes,
        "processes": 1,
        "seconds_for_1000000": round(seconds[MILLION], 2),
        "seconds_for_1000000_slowest": round(max(took[MILLION]), 2),
        "seconds_for_100000": round(seconds[TENTH], 3),
        "cpu_seconds_for_1000000": round(cpu[MILLION], 2),
        "cpu_seconds_for_100000": round(cpu[TENTH], 3),
        "time_per_prompt_ratio": round(seconds[MILLION] / seconds[TENTH] * TENTH / MILLION, 3),
        "cpu_time_per_prompt_ratio": round(cpu[MILLION] / cpu[TENTH] * TENTH / MILLION, 3),
        "wrong_verdicts": wrong,
        "customers_in_two_splits": split,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def differences(made: Made, outcomes: dict[str, int]) -> int:
    """Return by how much the counts of outcomes differ from those that were planted."""
    return sum(abs(made.outcomes.get(each, 0) - outcomes.get(each, 0)) for each in made.outcomes | outcomes)


def in_two_splits(asked: list[Asked], splits: list[str]) -> int:
    """Return how many customers have prompts in more than one split."""
    found: dict[str, set[str]] = defaultdict(set)
    for each, split in zip(asked, splits, strict=True):
        found[each.customer].add(split)
    return sum(len(names) > 1 for names in found.values())


def masking() -> dict[str, Any]:
    """Return prompts masked per CPU-second, where few and where all hold personal data, and what was missed."""
    mask("the recognisers are built before they are measured")
    rates: dict[str, list[float]] = {"few": [], "all": []}
    missed = changed = planted = 0
    for run in range(RUNS):
        for name, share in (("few", MASKED_SHARE), ("all", 1.0)):
            texts = personal(MASKED if name == "few" else MASKED // 10, share, seed=run)
            began = time.process_time()
            masked = [mask(text).text for text, _ in texts]
            rates[name].append(len(texts) / (time.process_time() - began))
            for (text, expected), found in zip(texts, masked, strict=True):
                planted += text != expected
                missed += text != expected != found
                changed += text == expected != found
    return {
        "prompts_per_cpu_second_5_percent_personal": round(median(rates["few"])),
        "prompts_per_cpu_second_all_personal": round(median(rates["all"])),
        "planted": planted,
        "missed": missed,
        "changed_without_need": changed,
    }


def ledger() -> dict[str, Any]:
    """Return how many prompts a second one curator keeps with few and with many kept before, windows in turn."""
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    rates: dict[str, list[float]] = {"empty": [], "full": []}
    made = [each for each in make(KEPT + 2 * (RUNS + 1) * KEEPS, seed=3).asked if "capped" not in each.customer]
    with Supervisor(DIRECTORY / "logs") as supervisor:
        ledgers = {}
        for name in rates:
            service = redis_service("ledger", port := free_port(), DIRECTORY / name)
            service = replace(service, name=f"redis-{name}")
            supervisor.start(service)
            supervisor.wait(service)
            ledgers[name] = Ledger(f"redis://127.0.0.1:{port}/0")
        _fill(ledgers["full"], made[:KEPT])
        log(f"{prompts.count(ledgers['full'])} prompts are kept")
        rest = iter(made[KEPT:])
        for run in range(RUNS):
            batch = [next(rest) for _ in range(KEEPS)]
            for name in ("empty", "full") if run % 2 else ("full", "empty"):
                rates[name].append(_keep(ledgers[name], batch))
            log(f"run {run + 1} of {RUNS}: {rates['empty'][-1]:.0f}/s empty, {rates['full'][-1]:.0f}/s full")
    return {
        "kept_before": KEPT,
        "prompts_per_s_empty": round(median(rates["empty"])),
        "prompts_per_s_full": round(median(rates["full"])),
    }


def _keep(store: Ledger, batch: list[Asked]) -> float:
    """Keep prompts one by one, each on disk before the next; return how many a second."""
    made = [(_prompt(each), text_of(each.messages)) for each in batch]
    began = time.perf_counter()
    for prompt, text in made:
        prompts.keep(store, prompt, text, RULES.most_per_customer)
    return len(made) / (time.perf_counter() - began)


def _fill(store: Ledger, asked: list[Asked]) -> None:
    """Put prompts into a pool, as `feedback.prompts.keep` would if none repeated another."""
    for start in range(0, len(asked), 2_000):
        with store.redis.pipeline(transaction=False) as line:
            for each in asked[start : start + 2_000]:
                prompt = _prompt(each)
                line.hset(keys.PROMPTS, prompt.id, encode(prompt))
                line.zadd(keys.PROMPT_BEGINNINGS, {prefixes.entry(text_of(prompt.messages), prompt.id): 0})
            line.execute()


def _prompt(asked: Asked) -> Prompt:
    return Prompt(
        id=f"pro_{id(asked):x}", created_at=utc_now(), customer=asked.customer, messages=asked.messages, split="train"
    )


if __name__ == "__main__":
    main()
