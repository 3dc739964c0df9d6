"""Items that a reviewer has to look at: held out of the queues, then ranked for good, reopened or discarded.

Knows an item's queueing state and what was said of it, without names; nothing of its content. Labels are never
touched: a reviewer's ranking is a record of its own.
"""

from collections.abc import Iterator
from typing import Literal, cast

import msgspec

from feedback import keys
from feedback.client import Ledger, decode_or_none, encode
from feedback.errors import Conflict, InvalidRecord, NotFound
from feedback.ids import new_id
from feedback.records import Adjudication, AuditEntry, Outcome, Review, utc_now

Why = Literal["skips", "report", "disagreement"]
Verdict = Literal["ranked", "reopened", "discarded"]
MOST_DETAILS = 20
"""Details kept of one review; what labelers say beyond them is not stored."""
TRIES = 20
"""How often a review that others change at the same moment is read again."""


def open_review(ledger: Ledger, item_id: str, reason: Why, detail: str = "") -> bool:
    """Hold an item out of its queues until a reviewer has looked at it.

    Repeated on an open review, it only adds the detail. An item that was ranked or discarded stays as it is. One that
    was reopened is held again for a report or skips, and not for the disagreement that the reviewer has seen.

    Args:
        ledger: where the item is.
        item_id: comparison, demonstration request or check.
        reason: why it needs a reviewer.
        detail: what was said, without names; in words for the reviewer.

    Returns:
        True if this call opened the review.
    """
    for _ in range(TRIES):
        text, review = _read(ledger, item_id)
        if review is not None and review.state == "open":
            if not detail or detail in review.details or len(review.details) >= MOST_DETAILS:
                return False
            wanted = msgspec.structs.replace(review, details=[*review.details, detail])
        elif review is None or (review.state == "reopened" and reason != "disagreement"):
            wanted = Review(item_id=item_id, created_at=utc_now(), reason=reason, details=[detail] if detail else [])
        else:
            return False
        if ledger.run(
            "review_open",
            [keys.REVIEWS, keys.REVIEWS_OPEN, keys.item(item_id)],
            [item_id, text, encode(wanted), f"{wanted.created_at.timestamp():.3f}", wanted.reason],
        ):
            return review is None or review.state != "open"
    raise Conflict(f"the review of {item_id} changes too fast; try again")


def resolve(
    ledger: Ledger,
    item_id: str,
    verdict: Verdict,
    reviewer: str,
    *,
    ranking: list[list[int]] | None = None,
    outcome: Outcome = "ranked",
    note: str = "",
    labels: list[str] | None = None,
) -> Review:
    """Store the reviewer's word on an item, with an audit entry; the first one counts.

    Args:
        ledger: where the item is.
        item_id: the item under review.
        verdict: ``ranked`` appends an `Adjudication`, ``reopened`` puts the item back into its queue with the slots
            that are left (labels stand if none is), ``discarded`` keeps it out for good.
        reviewer: who says so.
        ranking: of a ranked comparison: tie groups, best first; checked by the caller against its completions.
        outcome: of a ranked comparison.
        note: why; kept with the ranking, else with the review, and not in the audit, which outlives an erasure.
        labels: ids of the labels that the reviewer saw.

    Raises:
        NotFound: the item is not under review.
        Conflict: it was resolved otherwise before.
        InvalidRecord: a ranked item without a ranking.
    """
    text, review = _read(ledger, item_id)
    if review is None:
        raise NotFound(f"{item_id!r} is not under review")
    if verdict == "ranked" and not ranking:
        raise InvalidRecord("a ranked item needs a ranking")
    now = utc_now()
    details = [*review.details, f"reviewer: {note}"] if note and verdict != "ranked" else review.details
    wanted = msgspec.structs.replace(review, state=verdict, reviewer=reviewer, resolved_at=now, details=details)
    adjudication = Adjudication(
        id=new_id("adj"),
        created_at=now,
        comparison_id=item_id,
        reviewer=reviewer,
        outcome=outcome,
        ranking=ranking or [],
        note=note,
        labels=labels or [],
    )
    entry = AuditEntry(at=now, actor=reviewer, action=f"review: {verdict}", subject=item_id)
    if review.state == "open" and ledger.run(
        "review_close",
        [keys.REVIEWS, keys.REVIEWS_OPEN, keys.item(item_id), keys.AUDIT, keys.ADJUDICATIONS],
        [item_id, text, encode(wanted), verdict, encode(entry), encode(adjudication) if verdict == "ranked" else ""],
    ):
        return wanted
    return _same(ledger, adjudication, verdict, reviewer)


def _same(ledger: Ledger, said: Adjudication, verdict: Verdict, reviewer: str) -> Review:
    """Return what stands if it says the same as this reviewer said now."""
    _, stands = _read(ledger, said.comparison_id)
    if stands is None or stands.state == "open":
        raise Conflict(f"the review of {said.comparison_id} changed in the meantime; look at it again")
    same = (stands.state, stands.reviewer) == (verdict, reviewer)
    if same and verdict == "ranked":
        before = adjudications(ledger).get(said.comparison_id)
        same = before is not None and (before.outcome, before.ranking) == (said.outcome, said.ranking)
    if not same:
        raise Conflict(f"{said.comparison_id} was {stands.state} by {stands.reviewer} already; the first word counts")
    return stands


def get(ledger: Ledger, item_id: str) -> Review:
    """Return an item's review, open or resolved.

    Raises:
        NotFound: it was never under review.
    """
    _, review = _read(ledger, item_id)
    if review is None:
        raise NotFound(f"{item_id!r} is not under review")
    return review


def open_reviews(ledger: Ledger, most: int = 1000) -> list[Review]:
    """Return the open reviews, the oldest first, at most ``most``."""
    with ledger.reach() as client:
        ids = cast(list[str], client.zrange(keys.REVIEWS_OPEN, 0, most - 1))
        texts = cast(list[str | None], client.hmget(keys.REVIEWS, ids)) if ids else []
    found = [decode_or_none(text, Review) for text in texts]
    return [review for review in found if review is not None]


def open_count(ledger: Ledger) -> int:
    """Return how many items wait for a reviewer."""
    with ledger.reach() as client:
        return int(client.zcard(keys.REVIEWS_OPEN))


def slots_left(ledger: Ledger, item_id: str) -> int:
    """Return how many more answers an item would take if it were reopened; 0 if there is no such item."""
    with ledger.reach() as client:
        found = client.hget(keys.item(item_id), "slots")
    return max(0, int(found or 0))


def discarded(ledger: Ledger) -> set[str]:
    """Return the ids of the items that a reviewer discarded."""
    return {review.item_id for review in ledger.hall(keys.REVIEWS, Review) if review.state == "discarded"}


def read(ledger: Ledger, after: str = "-") -> Iterator[tuple[str, Adjudication]]:
    """Yield (entry id, adjudication), oldest first, beginning behind ``after``."""
    yield from ledger.stream(keys.ADJUDICATIONS, Adjudication, after)


def adjudications(ledger: Ledger) -> dict[str, Adjudication]:
    """Return the reviewers' rankings by comparison; the last one counts, should there be several."""
    return {each.comparison_id: each for _, each in read(ledger)}


def forget_notes(ledger: Ledger, comparison_ids: set[str]) -> int:
    """Take the notes off the rankings of erased comparisons, in which a reviewer may have quoted; return how many.

    An entry of a stream cannot be changed, so it is appended again without its note, in one move with the deletion.
    """
    quoting = [
        (entry_id, each) for entry_id, each in read(ledger) if each.note and each.comparison_id in comparison_ids
    ]
    for entry_id, each in quoting:
        with ledger.reach() as client, client.pipeline(transaction=True) as move:
            move.xdel(keys.ADJUDICATIONS, entry_id)
            move.xadd(keys.ADJUDICATIONS, {"record": encode(msgspec.structs.replace(each, note=""))})
            move.execute()
    return len(quoting)


def _read(ledger: Ledger, item_id: str) -> tuple[str, Review | None]:
    with ledger.reach() as client:
        text = cast(str | None, client.hget(keys.REVIEWS, item_id))
    return text or "", decode_or_none(text, Review)
