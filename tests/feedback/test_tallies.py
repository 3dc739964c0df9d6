"""Tallies: counted per person and window, gone when the window is over."""

import pytest

from feedback import tallies
from feedback.client import Ledger

pytestmark = pytest.mark.redis


def test_counts_are_each_person_s_own_and_end_with_their_window(ledger: Ledger) -> None:
    counts = [tallies.add(ledger, "battle", who, tallies.DAY_S)[0] for who in ("ada", "ada", "bob", "ada")]
    assert counts == [1, 2, 1, 3]
    assert tallies.add(ledger, "feedback", "ada", tallies.DAY_S)[0] == 1
    _, left_s = tallies.add(ledger, "battle", "ada", tallies.DAY_S)
    assert 0 < left_s <= tallies.DAY_S
    assert all(0 < ledger.redis.ttl(key) <= tallies.DAY_S for key in ledger.redis.keys("ws:tally:*"))


def test_a_new_window_begins_at_one(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies.time, "time", lambda: 119.0)
    assert tallies.add(ledger, "feedback", "ada", 60) == (1, 1.0)
    monkeypatch.setattr(tallies.time, "time", lambda: 120.0)
    assert tallies.add(ledger, "feedback", "ada", 60) == (1, 60.0)
