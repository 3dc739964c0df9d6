"""Queues of items for labelers: opened, leased, renewed, released, never handed out twice.

An item is a comparison or a request for a demonstration; this module knows its queueing state and nothing of its
content.
"""

import time
from collections.abc import Callable
from typing import cast

import msgspec

from feedback import keys
from feedback.client import Ledger
from feedback.errors import Conflict, LeaseLost, NotFound
from feedback.records import Lease

DEFAULT_LEASE_S = 20 * 60.0
LOOK_AT_MOST = 5000
"""How deep into a queue the lease script looks for an item that the labeler has not seen."""


class Answer(msgspec.Struct, frozen=True):
    """What the submit move said."""

    entry_id: str
    repeated: bool


def open_item(ledger: Ledger, item_id: str, queue: str, slots: int, score: float) -> None:
    """Put an item into a queue for ``slots`` different labelers; lower scores are served first."""
    ledger.run("open", [keys.item(item_id), keys.queue(queue)], [item_id, queue, slots, score])


def lease(
    ledger: Ledger, queue: str, labeler: str, lease_s: float = DEFAULT_LEASE_S, now: Callable[[], float] = time.time
) -> Lease | None:
    """Lease the first item that this labeler has not seen; None when nothing is left for them."""
    deadline_s = now() + lease_s
    found = ledger.run(
        "lease",
        [keys.queue(queue), keys.LEASES, keys.seen(labeler)],
        [labeler, f"{deadline_s:.3f}", LOOK_AT_MOST],
    )
    if not found:
        return None
    return Lease(item_id=found[0], labeler=labeler, token=int(found[1]), deadline_s=deadline_s)


def renew(
    ledger: Ledger,
    item_id: str,
    labeler: str,
    token: int,
    lease_s: float = DEFAULT_LEASE_S,
    now: Callable[[], float] = time.time,
) -> float:
    """Extend a live lease and return the new deadline (unix seconds).

    Raises:
        LeaseLost: it expired or went to somebody else.
    """
    at = now()
    renewed = ledger.run(
        "renew",
        [keys.lease(item_id), keys.LEASES],
        [item_id, labeler, str(token), f"{at + lease_s:.3f}", f"{at:.3f}"],
    )
    if not renewed:
        raise LeaseLost(f"the lease of {item_id} is gone; ask for the next item")
    return at + lease_s


def submit(
    ledger: Ledger,
    stream: str,
    item_id: str,
    labeler: str,
    token: int,
    submission_id: str,
    record: str,
    now: Callable[[], float] = time.time,
) -> Answer:
    """Append the record under a live lease and close the lease; a repeated submission returns its first answer.

    Raises:
        LeaseLost: the lease is not there, expired, or newer; nothing was written.
        Conflict: the submission id was used for another item or by somebody else; nothing was written.
    """
    verdict, detail = ledger.run(
        "submit",
        [keys.lease(item_id), keys.LEASES, keys.item(item_id), keys.submission(submission_id), stream],
        [item_id, labeler, str(token), record, keys.MONTH_S, f"{now():.3f}"],
    )
    if verdict == "lost":
        raise LeaseLost(f"{item_id}: {detail}; your answer was not stored, ask for the next item")
    if verdict == "clash":
        raise Conflict(f"submission id {submission_id} was used for another answer; make a new one per answer")
    return Answer(entry_id=detail, repeated=verdict == "again")


def release(ledger: Ledger, item_id: str, labeler: str, token: int) -> None:
    """Give a leased item back (skip); it is not offered to this labeler again.

    Raises:
        LeaseLost: there is no such lease.
    """
    released = ledger.run(
        "release",
        [keys.lease(item_id), keys.LEASES, keys.item(item_id), keys.seen(labeler)],
        [item_id, labeler, str(token), "", ""],
    )
    if not released:
        raise LeaseLost(f"the lease of {item_id} is gone")


def expire(ledger: Ledger, now: Callable[[], float] = time.time, most: int = 500) -> int:
    """Return the items of overdue leases to their queues; return how many."""
    at = now()
    with ledger.reach() as client:
        overdue = cast(list[str], client.zrange(keys.LEASES, "-inf", at, byscore=True, offset=0, num=most))
    ended = 0
    for member in overdue:
        item_id, labeler = member.split(" ", 1)
        ended += ledger.run(
            "release",
            [keys.lease(item_id), keys.LEASES, keys.item(item_id), keys.seen(labeler)],
            [item_id, labeler, "", "forget", f"{at:.3f}"],
        )
    return ended


def waiting(ledger: Ledger, queue: str) -> int:
    """Return how many items of a queue still have a free slot."""
    with ledger.reach() as client:
        return int(client.zcard(keys.queue(queue)))


def held(ledger: Ledger) -> int:
    """Return how many leases are live or overdue, over all queues."""
    with ledger.reach() as client:
        return int(client.zcard(keys.LEASES))


def answers(ledger: Ledger, item_id: str) -> int:
    """Return how many answers an item has.

    Raises:
        NotFound: no such item.
    """
    with ledger.reach() as client:
        found = client.hget(keys.item(item_id), "labels")
    if found is None:
        raise NotFound(f"no item {item_id!r}")
    return int(found)
