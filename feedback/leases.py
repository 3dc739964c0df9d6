"""Queues of items for labelers: opened, leased, renewed, released, never handed out twice.

An item is a comparison or a request for a demonstration; this module knows its queueing state and nothing of its
content. Time is the ledger's own clock, so that no process's clock matters; a test may pass another. What each list of
a queue holds is in ``scripts/shared/places.lua``.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from feedback import keys, labelers
from feedback.client import Ledger, decode, encode
from feedback.errors import DailyCapReached, LeaseLost, NotFound, TooManyLeases
from feedback.records import Lease, Record

DEFAULT_LEASE_S = 20 * 60.0
DAY_S = 24 * 3600
SWEPT_AT_ONCE = 500
"""Most overdue leases that one move ends."""
Clock = Callable[[], float]


class Skip(Record, frozen=True, kw_only=True):
    """Why somebody did not answer an item."""

    reason: str
    note: str = ""


def open_item(
    ledger: Ledger, item_id: str, queue: str, slots: int, score: float, authors: list[str] | None = None
) -> None:
    """Put an item into a queue for ``slots`` different labelers; lower scores are served first, ``authors`` never."""
    ledger.run("open", [keys.item(item_id)], [item_id, queue, slots, score, "\n".join(authors or [])])


class Handed(NamedTuple):
    """A lease, and what there is to see: read in the same move."""

    lease: Lease
    record: str | None
    """The Comparison or Prompt, JSON; None if it was erased."""
    draft: str | None
    """What the labeler had written of an answer, JSON."""


class Demand(NamedTuple):
    """What a labeler must have done before anything is handed to them."""

    guideline: str = ""
    """Version of the guidelines that they must have acknowledged; empty for none."""
    practice: bool = False


class Pick(NamedTuple):
    """How an item is chosen, by uniform draws made before."""

    check: bool = False
    """Give one of the checks prepared for the labeler, if there is one."""
    draw: str = ""
    """``random`` or ``disagreement``: how to choose among fresh items once none has priority; else by age."""
    at: float = 0.0
    """Where in the queue to draw a random item, in [0, 1)."""


BY_AGE, NOTHING = Pick(), Demand()


def lease(
    ledger: Ledger,
    queue: str,
    labeler: str,
    lease_s: float = DEFAULT_LEASE_S,
    now: Clock | None = None,
    *,
    most: int = 0,
    daily_cap: int = 0,
    **pick: Any,
) -> Lease | None:
    """Do as `hand` and return the lease alone; ``pick`` are the fields of `Pick`."""
    found = hand(ledger, queue, labeler, lease_s, now, most=most, daily_cap=daily_cap, pick=Pick(**pick))
    return found.lease if found is not None else None


def hand(
    ledger: Ledger,
    queue: str,
    labeler: str,
    lease_s: float = DEFAULT_LEASE_S,
    now: Clock | None = None,
    *,
    most: int = 0,
    daily_cap: int = 0,
    pick: Pick = BY_AGE,
    demand: Demand = NOTHING,
) -> Handed | None:
    """Lease one item that this labeler has not seen; None when nothing is left for them.

    Args:
        ledger: where the queue is.
        queue: its name.
        labeler: who asks.
        lease_s: seconds until the item goes back, unless it is kept alive.
        now: a clock instead of the ledger's, for tests.
        most: most leases of the labeler at a time; 0 for any number.
        daily_cap: most items of the labeler from this queue in a UTC day; 0 for any number.
        pick: how to choose.
        demand: what the labeler must have done.

    Raises:
        Paused: the labeler is paused.
        MustAcknowledge: they have not agreed to the guidelines in force.
        MustPractise: they have not passed the practice items.
        TooManyLeases: the labeler holds ``most`` already.
        DailyCapReached: the labeler had ``daily_cap`` items today.
    """
    places = [keys.queue(queue), keys.queue_partial(queue), keys.queue_disagreement(queue), keys.LEASES]
    own = [keys.seen(labeler), keys.holding(labeler), keys.returned(labeler), keys.checks(labeler)]
    asked = [labeler, queue, f"{lease_s:g}", _given(now), most, daily_cap, "check" if pick.check else "", pick.draw]
    rank = 0
    while True:
        verdict, *found = ledger.run(
            "lease",
            [*places, *own, keys.labeler(labeler), keys.PROMPTS],
            [*asked, f"{pick.at:.9f}", rank, demand.guideline, "practice" if demand.practice else ""],
        )
        if verdict == "more":
            rank = int(found[0])
            continue
        if verdict == "refused":
            labelers.admit(labelers.standing(ledger, labeler), demand.guideline, practice=demand.practice)
            continue  # it changed between the two looks
        if verdict == "many":
            wait_s = max(1.0, float(found[0]) - (now or time.time)())
            raise TooManyLeases(f"you hold {most} items already; answer or skip one of them first", wait_s)
        if verdict == "capped":
            message = f"{daily_cap} items of this queue a day are the most, and you had them; go on tomorrow (UTC)"
            raise DailyCapReached(message, DAY_S - (now or time.time)() % DAY_S)
        if verdict == "nothing":
            return None
        item_id, value, record, draft = found
        return Handed(_lease(item_id, labeler, value), record, draft)


class InHand(NamedTuple):
    """An item as one labeler holds it, or not."""

    record: str | None
    """The Comparison, JSON; None if there is none."""
    lease: Lease | None
    queue: str
    """The queue that it was asked from; empty if that is not known."""


def in_hand(ledger: Ledger, item_id: str, labeler: str) -> InHand:
    """Return a comparison with a labeler's lease of it, in one look."""
    with ledger.reach() as client, client.pipeline(transaction=False) as line:
        line.get(keys.comparison(item_id))
        line.hget(keys.lease(item_id), labeler)
        line.hget(keys.holding(labeler), item_id)
        record, value, asked = line.execute()
    lease = _lease(item_id, labeler, value) if value is not None else None
    return InHand(record, lease, asked.split(" ")[-1] if asked else "")


def held(ledger: Ledger, item_id: str, labeler: str) -> Lease | None:
    """Return a labeler's lease of an item, None if there is none; it may be overdue and not ended yet."""
    with ledger.reach() as client:
        value = client.hget(keys.lease(item_id), labeler)
    return _lease(item_id, labeler, value) if value is not None else None


def renew(
    ledger: Ledger,
    item_id: str,
    labeler: str,
    token: int,
    lease_s: float | None = None,
    now: Clock | None = None,
) -> float:
    """Extend a live lease by ``lease_s`` (by default as long as it was given for); return the deadline (unix seconds).

    Raises:
        LeaseLost: it expired or went to somebody else.
    """
    deadline = ledger.run(
        "renew",
        [keys.lease(item_id), keys.LEASES, keys.holding(labeler)],
        [item_id, labeler, str(token), "" if lease_s is None else f"{lease_s:g}", _given(now)],
    )
    if not deadline:
        raise LeaseLost(f"the lease of {item_id} is gone; ask for the next item")
    return float(deadline)


def release(ledger: Ledger, item_id: str, labeler: str, token: int, reason: str = "other", note: str = "") -> int:
    """Skip a leased item, never to be offered it again; return how many different labelers have skipped it.

    Raises:
        LeaseLost: there is no such lease.
    """
    return _give_back(ledger, item_id, labeler, token, encode(Skip(reason=reason, note=note)))


def hand_back(ledger: Ledger, item_id: str, labeler: str, token: int) -> None:
    """Give a leased item back unseen; it may be offered to the same labeler again.

    Raises:
        LeaseLost: there is no such lease.
    """
    _give_back(ledger, item_id, labeler, token, "")


def _give_back(ledger: Ledger, item_id: str, labeler: str, token: int, said: str) -> int:
    released = ledger.run(
        "release",
        [keys.lease(item_id), keys.skips(item_id)],
        [item_id, labeler, str(token), said, ""],
    )
    if released < 0:
        raise LeaseLost(f"the lease of {item_id} is gone")
    return int(released)


def skips(ledger: Ledger, item_id: str) -> list[Skip]:
    """Return what was said by those who skipped an item, without their names."""
    with ledger.reach() as client:
        said = cast(dict[str, str], client.hgetall(keys.skips(item_id)))
    return [decode(text, Skip) for text in sorted(said.values())]


def expire(ledger: Ledger, now: Clock | None = None, most: int = SWEPT_AT_ONCE) -> int:
    """Return the items of overdue leases to their queues, until none is left; return how many."""
    ended = 0
    while True:
        count = int(ledger.run("expire", [keys.LEASES], [most, _given(now)]))
        ended += count
        if count < most:
            return ended


def set_disagreement(ledger: Ledger, figures: Mapping[str, float]) -> int:
    """Note on how much reward models disagree, in [0, 1], by item id; return how many of the items there are."""
    return sum(ledger.run("disagree", [keys.item(id)], [id, f"{figure:.6f}"]) for id, figure in figures.items())


def waiting(ledger: Ledger, queue: str) -> int:
    """Return how many items of a queue still have a free slot."""
    with ledger.reach() as client, client.pipeline(transaction=False) as line:
        line.zcard(keys.queue(queue))
        line.zcard(keys.queue_partial(queue))
        return sum(line.execute())


def live(ledger: Ledger) -> int:
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


def _given(now: Clock | None) -> str:
    return "" if now is None else f"{now():.3f}"


def _lease(item_id: str, labeler: str, value: str) -> Lease:
    """Return the lease that ``<token> <deadline> <leased at> <why>`` stands for; earlier ones had the first two."""
    token, deadline, leased_at, picked = [*value.split(" "), "", ""][:4]
    return Lease(
        item_id=item_id,
        labeler=labeler,
        token=int(token),
        deadline_s=float(deadline),
        leased_at_s=float(leased_at or 0),
        picked=picked,
    )
