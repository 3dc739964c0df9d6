"""What reviewers say of demonstrations: appended, the last word on a revision counts.

A returned or rejected demonstration never trains. A new revision is a new answer: it waits for a review of its own.
"""

from collections.abc import Iterator
from typing import Literal

from feedback import demonstrations, keys
from feedback.client import Ledger, encode
from feedback.errors import InvalidRecord, NotFound
from feedback.ids import new_id
from feedback.records import Demonstration, DemonstrationReview, utc_now

Verdict = Literal["accepted", "returned", "rejected"]


def review(
    ledger: Ledger, demonstration_id: str, verdict: Verdict, reviewer: str, comment: str = ""
) -> DemonstrationReview:
    """Append a reviewer's word on the current revision of a demonstration; the same word again changes nothing.

    Raises:
        NotFound: no such demonstration, or it was revised meanwhile.
        InvalidRecord: it is returned without a comment.
    """
    if verdict == "returned" and not comment.strip():
        raise InvalidRecord("say what should change; the writer reads it")
    if all(each.id != demonstration_id for _, each in demonstrations.current(ledger)):
        raise NotFound(f"no demonstration {demonstration_id!r}, or its writer has changed it; look again")
    last = latest(ledger).get(demonstration_id)
    if last is not None and (last.verdict, last.reviewer, last.comment) == (verdict, reviewer, comment):
        return last
    made = DemonstrationReview(
        id=new_id("rev"),
        created_at=utc_now(),
        demonstration_id=demonstration_id,
        verdict=verdict,
        reviewer=reviewer,
        comment=comment,
    )
    with ledger.reach() as client:
        client.xadd(keys.DEMONSTRATION_REVIEWS, {"record": encode(made)})
    return made


def read(ledger: Ledger, after: str = "-") -> Iterator[tuple[str, DemonstrationReview]]:
    """Yield (entry id, review), oldest first, beginning behind ``after``."""
    yield from ledger.stream(keys.DEMONSTRATION_REVIEWS, DemonstrationReview, after)


def latest(ledger: Ledger) -> dict[str, DemonstrationReview]:
    """Return demonstration id -> the last word on it."""
    return {each.demonstration_id: each for _, each in read(ledger)}


def waiting(ledger: Ledger, most: int = 200) -> list[Demonstration]:
    """Return the demonstrations whose current revision nobody has reviewed, the oldest first, at most ``most``.

    Those of few-shot prompts are not among them: they were accepted with their prompt.
    """
    reviewed = latest(ledger)
    current = (each for _, each in demonstrations.current(ledger))
    found = (each for each in current if each.source != "few_shot" and each.id not in reviewed)
    return [each for _, each in zip(range(most), found, strict=False)]


def forget(ledger: Ledger) -> int:
    """Remove the reviews of demonstrations that were erased, whose comments may quote them; return how many."""
    known = {each.id for _, each in demonstrations.read(ledger)}
    doomed = [entry_id for entry_id, each in read(ledger) if each.demonstration_id not in known]
    with ledger.reach() as client:
        return int(client.xdel(keys.DEMONSTRATION_REVIEWS, *doomed)) if doomed else 0
