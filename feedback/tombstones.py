"""Tombstones: which customers were erased, and when.

What a customer sent before that moment may enter nothing any more: the log script, snapshots and `feedback.erasure` ask
here. A customer who comes back afterwards is a customer like any other.
"""

from datetime import datetime
from typing import NamedTuple, cast

from feedback import keys
from feedback.client import Ledger

SETTLE_S = 180.0
"""Longest that something already under way (a running task, a claimed batch) may still write what it read before."""


class Tombstone(NamedTuple):
    """One customer's erasure."""

    customer: str
    at: float
    """Unix time, seconds."""

    def covers(self, customer: str, made: datetime) -> bool:
        """Tell whether something that the customer sent at this moment is erased."""
        return customer == self.customer and made.timestamp() <= self.at

    def covers_derived(self, customer: str, made: datetime) -> bool:
        """Tell whether something that we made of it is; what was under way may be younger than the erasure."""
        return customer == self.customer and made.timestamp() <= self.at + SETTLE_S


class Tombstones(NamedTuple):
    """All erasures at a glance."""

    by_customer: dict[str, Tombstone]
    comparisons: frozenset[str]
    """Ids of erased comparisons; their labels are still in the ledger."""

    def cover_derived(self, customer: str, made: datetime) -> bool:
        """Tell whether something made of what this customer sent is erased."""
        found = self.by_customer.get(customer)
        return found is not None and found.covers_derived(customer, made)


def put(ledger: Ledger, customer: str, at: float) -> Tombstone:
    """Erase a customer from this moment on (Unix time, seconds); an earlier erasure is extended."""
    with ledger.reach() as client:
        client.hset(keys.ERASED, customer, f"{at:.3f}")
    return Tombstone(customer, at)


def read(ledger: Ledger) -> Tombstones:
    """Return all erasures."""
    with ledger.reach() as client:
        moments = cast(dict[str, str], client.hgetall(keys.ERASED))
        comparisons = cast(set[str], client.smembers(keys.ERASED_COMPARISONS))
    marks = {customer: Tombstone(customer, float(at)) for customer, at in moments.items()}
    return Tombstones(marks, frozenset(comparisons))
