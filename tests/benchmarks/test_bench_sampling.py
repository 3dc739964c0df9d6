"""The benchmark of sampling would see a missing, a doubled and a stalled comparison."""

import itertools
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import bench_sampling
from benchmarks.bench_sampling import Group, Killing, bars, is_whole, kill_until_done, outcome, plan
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


class Sampling(Group):
    """A group that completes one comparison at each start, as long as it has some."""

    def __init__(self, ledger: Ledger, works: int) -> None:
        super().__init__({}, Path("unused"))
        self.ledger = ledger
        self.works = itertools.repeat(True, works)
        self.alive = False

    def start(self) -> None:
        assert not self.alive
        self.alive = True
        if next(self.works, False):
            [claim] = comparisons.claim(self.ledger, 1, 60)
            planned = comparisons.get(self.ledger, claim.id)
            assert comparisons.complete(self.ledger, planned, completions(), token=claim.token)

    def kill(self) -> None:
        assert self.alive
        self.alive = False


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_sampling, "KILL_EVERY_S", 0.1)


def test_each_kill_is_followed_until_something_is_stored(ledger: Ledger, fast: Any) -> None:
    plan(ledger, 5)
    group = Sampling(ledger, works=5)
    group.start()
    seen = kill_until_done(ledger, group)
    assert (seen.left, seen.kills, len(seen.recoveries_s)) == (0, 4, 4)
    assert max(seen.recoveries_s) < 0.2


def test_a_stall_ends_the_wait_and_is_measured(ledger: Ledger, fast: Any) -> None:
    plan(ledger, 5)
    group = Sampling(ledger, works=2)
    group.start()
    began = time.monotonic()
    seen = kill_until_done(ledger, group, stall_s=0.5, kills=3)
    assert (seen.left, seen.kills, len(seen.recoveries_s)) == (3, 3, 1)
    assert 0.5 <= seen.stalled_s <= time.monotonic() - began
