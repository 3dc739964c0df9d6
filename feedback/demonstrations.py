"""Demonstrations: requests for them, and labelers' own answers, appended, corrected by new ones, never overwritten."""

from collections.abc import Iterator

from feedback import keys, leases, submissions
from feedback.client import Ledger
from feedback.errors import InvalidRecord
from feedback.records import Demonstration, Prompt

QUEUE = "demonstration"
MAX_CHARS = 16_000


def request(ledger: Ledger, prompt: Prompt) -> None:
    """Ask labelers for one demonstration of ``prompt``."""
    authors = [prompt.author] if prompt.author else []
    leases.open_item(ledger, prompt.id, QUEUE, slots=1, score=prompt.created_at.timestamp(), authors=authors)


def check(demonstration: Demonstration) -> None:
    """Raise `InvalidRecord` if the response is empty or too long."""
    if not demonstration.response.strip():
        raise InvalidRecord("response is empty; write the answer that you would want to get")
    if len(demonstration.response) > MAX_CHARS:
        raise InvalidRecord(f"response has {len(demonstration.response)} characters, at most {MAX_CHARS} are taken")


def submit(ledger: Ledger, demonstration: Demonstration, token: int, now: float | None = None) -> submissions.Answer:
    """Append a demonstration under a lease; a repeated submission returns its first answer.

    The lease of a request ends with it. One that was written on a comparison (``source`` ``comparison``) is given
    beside the ranking, once per labeler, and the lease lives on.

    Raises:
        InvalidRecord: the response is empty or too long.
        LeaseLost: the labeler no longer holds the item; nothing was written.
        Conflict: another demonstration was given before; it is kept, and can be corrected.
    """
    check(demonstration)
    return submissions.take(
        ledger,
        keys.DEMONSTRATIONS,
        demonstration,
        item_of(demonstration),
        token,
        substance(demonstration),
        ends=demonstration.source != "comparison",
        now=now,
    )


def revise(
    ledger: Ledger,
    demonstration: Demonstration,
    *,
    revise_s: float = submissions.REVISE_S,
    now: float | None = None,
) -> submissions.Answer:
    """Append a demonstration that corrects an earlier one (``revision_of``, ``revision``), which stays as it is.

    Raises:
        InvalidRecord: the response is empty or too long.
        NotFound: this labeler gave no such demonstration within the last month.
        Conflict: it is too late, or it was corrected meanwhile.
    """
    check(demonstration)
    return submissions.revise(
        ledger,
        keys.DEMONSTRATIONS,
        demonstration,
        item_of(demonstration),
        substance(demonstration),
        revise_s=revise_s,
        now=now,
    )


def item_of(demonstration: Demonstration) -> str:
    """Return the item that it was written on: its comparison, or the request for it, which has the prompt's id."""
    return demonstration.comparison_id or demonstration.prompt_id


def read(ledger: Ledger, after: str = "-") -> Iterator[tuple[str, Demonstration]]:
    """Yield (entry id, demonstration) of all, corrected ones too, oldest first, beginning behind ``after``."""
    yield from ledger.stream(keys.DEMONSTRATIONS, Demonstration, after)


def current(ledger: Ledger) -> Iterator[tuple[str, Demonstration]]:
    """Yield (entry id, demonstration): of each its last revision, in the order of the first."""
    yield from submissions.latest(read(ledger))


def count(ledger: Ledger) -> int:
    """Return how many demonstrations were ever taken; one that was corrected counts once."""
    with ledger.reach() as client:
        taken = int(client.xlen(keys.DEMONSTRATIONS))
        return taken - int(client.get(keys.revised(keys.DEMONSTRATIONS)) or 0)


def substance(demonstration: Demonstration) -> str:
    """Return the digest of what a demonstration says."""
    return submissions.digest(
        item_of(demonstration), demonstration.response, demonstration.based_on, demonstration.revision_of
    )
