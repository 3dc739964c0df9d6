"""What each labeler did today (UTC): items given and not given back, answered, skipped. Counts; judges nothing."""

import time
from collections import Counter
from collections.abc import Callable
from typing import cast

from feedback import keys
from feedback.client import Ledger

DAY_S = 24 * 3600
KEPT_DAYS = 40
"""Days for which it is known who skipped how much."""
Clock = Callable[[], float]


def taken(ledger: Ledger, labeler: str, now: Clock = time.time) -> dict[str, int]:
    """Return how many items a labeler was given today and did not give back, by queue."""
    with ledger.reach() as client:
        counts = cast(dict[str, str], client.hgetall(keys.taken(labeler, _day(now))))
    return {queue: int(count) for queue, count in counts.items()}


def answered(ledger: Ledger, labeler: str, now: Clock = time.time) -> dict[str, int]:
    """Return how many items a labeler was given today, did not give back and does not hold now, by queue."""
    given = taken(ledger, labeler, now)
    with ledger.reach() as client:
        held = Counter(value.split(" ")[-1] for value in cast(list[str], client.hvals(keys.holding(labeler))))
    return {queue: max(0, count - held[queue]) for queue, count in given.items()}


def note_skip(ledger: Ledger, labeler: str, now: Clock = time.time) -> int:
    """Count one more skip of a labeler; return how many it were today."""
    key = keys.skipped(_day(now))
    with ledger.reach() as client, client.pipeline(transaction=True) as move:
        move.hincrby(key, labeler, 1)
        move.expire(key, KEPT_DAYS * DAY_S)
        return int(move.execute()[0])


def skipped(ledger: Ledger, now: Clock = time.time) -> dict[str, int]:
    """Return how many items each labeler skipped today; those who skipped none are absent."""
    with ledger.reach() as client:
        counts = cast(dict[str, str], client.hgetall(keys.skipped(_day(now))))
    return {labeler: int(count) for labeler, count in counts.items()}


def _day(now: Clock) -> int:
    return int(now() // DAY_S)
