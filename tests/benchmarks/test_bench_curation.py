"""The benchmark of curation would see a missed duplicate, a customer in two splits and a slow million."""

from typing import Any

from benchmarks.bench_curation import bars, differences, in_two_splits
from benchmarks.planted import make
from feedback.curation import Rules
from feedback.curation.batch import judge

GOOD: dict[str, dict[str, Any]] = {
    "memory": {
        "seconds_for_1000000": 20.0,
        "cpu_time_per_prompt_ratio": 1.1,
        "wrong_verdicts": 0,
        "customers_in_two_splits": 0,
    },
    "masking": {"missed": 0, "changed_without_need": 0},
}


def test_all_planted_cases_are_found() -> None:
    made = make(10_000)
    verdicts = list(judge(made.asked, Rules()))
    outcomes = [each.outcome for each in verdicts]
    counts = {each: outcomes.count(each) for each in set(outcomes)}
    assert differences(made, counts) == 0
    assert in_two_splits(made.asked, [each.split for each in verdicts]) == 0


def test_a_missed_duplicate_and_a_surprise_are_differences() -> None:
    made = make(10_000)
    assert differences(made, {**made.outcomes, "duplicate": made.outcomes["duplicate"] - 1}) == 1
    assert differences(made, {**made.outcomes, "lost": 2}) == 2


def test_a_customer_in_two_splits_is_seen() -> None:
    made = make(2_000)
    splits = [each.split for each in judge(made.asked, Rules())]
    splits[0] = "test" if splits[0] != "test" else "train"
    assert in_two_splits(made.asked, splits) == 1


def test_every_promise_can_be_broken() -> None:
    assert all(bar.passed for bar in bars(GOOD))
    for part, figures in GOOD.items():
        for name in figures:
            bad = {**GOOD, part: {**figures, name: 61}}
            assert sum(not bar.passed for bar in bars(bad)) == 1, name
