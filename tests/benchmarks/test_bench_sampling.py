"""The benchmark of sampling would see a missing, a doubled and a smaller comparison."""

import msgspec

from benchmarks.bench_sampling import bars, is_whole, outcome, plan
from benchmarks.killing import Killing
from feedback import comparisons
from feedback.client import Ledger
from feedback.records import Completion
from tests.builders import make_comparison, make_completion


def completions(k: int = 4) -> list[Completion]:
    return [make_completion(f"Answer {n}.", seed=n) for n in range(k)]


def test_a_whole_comparison_has_four_different_texts_and_seeds() -> None:
    assert is_whole(make_comparison(4, completions=completions()))
    assert not is_whole(make_comparison(3, completions=completions(3)))
    assert not is_whole(make_comparison(4, completions=completions(3)))
    for change in ({"text": "Answer 0. "}, {"seed": 0}):
        twice = [*completions(3), msgspec.structs.replace(completions()[3], **change)]
        assert not is_whole(make_comparison(4, completions=twice))


def test_prompts_are_all_different(ledger: Ledger) -> None:
    ids = plan(ledger, 300)
    found = [comparisons.get(ledger, id).messages[0].content for id in ids]
    assert len(set(found)) == len(set(ids)) == 300


def test_what_is_missing_made_smaller_or_buried_is_seen(ledger: Ledger) -> None:
    whole, smaller, buried, missing = ids = plan(ledger, 4)
    assert comparisons.complete(ledger, comparisons.get(ledger, whole), completions())
    less = msgspec.structs.replace(comparisons.get(ledger, smaller), k=3)
    assert comparisons.complete(ledger, less, completions(3))
    assert comparisons.bury(ledger, buried, "all the same")
    found = outcome(ledger, ids, Killing(recoveries_s=[1.0, 3.0], kills=2))
    assert (found["complete"], found["exactly_k"], found["made_smaller"], found["queued_once"]) == (2, 1, 1, 2)
    assert found["buried"] == {"all the same": 1}
    assert found["recovery_s"]["p50"] == 2.0
    assert comparisons.being_sampled(ledger) == 1, missing
    failed = {bar.name for bar in bars({**found, "kills": 20}, {"left": 0}, 4) if not bar.passed}
    assert failed == {"complete", "exactly_k_distinct", "queued_once", "control_left_incomplete"}
