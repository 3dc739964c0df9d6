"""Killing and waiting, with a group that is no process: recoveries and stalls are what they were."""

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import killing
from benchmarks.bench_sampling import plan
from benchmarks.killing import Group, kill_until_done
from feedback import comparisons
from feedback.client import Ledger
from tests.builders import make_completion


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
            assert comparisons.complete(
                self.ledger, planned, [make_completion(f"{n}.") for n in range(4)], token=claim.token
            )

    def kill(self) -> None:
        assert self.alive
        self.alive = False


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(killing, "KILL_EVERY_S", 0.1)


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
