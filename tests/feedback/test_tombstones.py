"""What was sent before an erasure is covered, what came after is not."""

from datetime import timedelta

import pytest

from feedback import tombstones
from feedback.client import Ledger
from feedback.tombstones import SETTLE_S, Tombstone
from tests.builders import NOON

MARK = Tombstone("acme", NOON.timestamp())


@pytest.mark.parametrize(
    ("customer", "after_s", "covered", "derived"),
    [
        ("acme", -1, True, True),
        ("acme", 0, True, True),
        ("acme", 1, False, True),
        ("acme", SETTLE_S + 1, False, False),
        ("other", -1, False, False),
        ("acm", -1, False, False),
    ],
)
def test_what_a_tombstone_covers(customer: str, after_s: float, covered: bool, derived: bool) -> None:
    made = NOON + timedelta(seconds=after_s)
    assert MARK.covers(customer, made) == covered
    assert MARK.covers_derived(customer, made) == derived


@pytest.mark.redis
def test_tombstones_are_read_back_and_a_later_one_extends_the_first(ledger: Ledger) -> None:
    assert tombstones.read(ledger) == ({}, frozenset())
    tombstones.put(ledger, "acme", 100.0)
    tombstones.put(ledger, "acme", 200.0)
    assert tombstones.read(ledger).by_customer == {"acme": Tombstone("acme", 200.0)}
    assert tombstones.read(ledger).cover_derived("acme", NOON) is False
    tombstones.put(ledger, "acme", NOON.timestamp())
    assert tombstones.read(ledger).cover_derived("acme", NOON)
    assert not tombstones.read(ledger).cover_derived("other", NOON)
