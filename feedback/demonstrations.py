"""Demonstrations: requests for them, and labelers' own answers, appended and never overwritten."""

from collections.abc import Iterator

from feedback import keys, leases
from feedback.client import Ledger, encode
from feedback.errors import InvalidRecord
from feedback.records import Demonstration, Prompt

QUEUE = "demonstration"
MAX_CHARS = 16_000


def request(ledger: Ledger, prompt: Prompt) -> None:
    """Ask labelers for one demonstration of ``prompt``."""
    leases.open_item(ledger, prompt.id, QUEUE, slots=1, score=prompt.created_at.timestamp())


def submit(ledger: Ledger, demonstration: Demonstration, token: int) -> leases.Answer:
    """Append a demonstration under its lease; a repeated submission returns its first answer.

    Raises:
        InvalidRecord: the response is empty or too long.
        LeaseLost: the labeler no longer holds the request; nothing was written.
    """
    if not demonstration.response.strip():
        raise InvalidRecord("response is empty; write the answer that you would want to get")
    if len(demonstration.response) > MAX_CHARS:
        raise InvalidRecord(f"response has {len(demonstration.response)} characters, at most {MAX_CHARS} are taken")
    return leases.submit(
        ledger,
        keys.DEMONSTRATIONS,
        demonstration.prompt_id,
        demonstration.labeler,
        token,
        demonstration.id,
        encode(demonstration),
    )


def read(ledger: Ledger, after: str = "-") -> Iterator[tuple[str, Demonstration]]:
    """Yield (entry id, demonstration), oldest first, beginning behind ``after``."""
    yield from ledger.stream(keys.DEMONSTRATIONS, Demonstration, after)


def count(ledger: Ledger) -> int:
    """Return how many demonstrations were ever taken."""
    with ledger.reach() as client:
        return int(client.xlen(keys.DEMONSTRATIONS))
