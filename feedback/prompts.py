"""The pool of curated prompts.

Stores and reads; the rules by which a prompt is kept are in `feedback.curation`.
"""

from collections.abc import Iterator
from typing import cast

from feedback import keys
from feedback.client import Ledger, decode, decode_or_none, encode
from feedback.curation import prefixes
from feedback.errors import NotFound
from feedback.records import Prompt


def keep(ledger: Ledger, prompt: Prompt, text: str, most_per_customer: int) -> str:
    """Add a prompt to the pool; return ``kept``, ``duplicate`` or ``customer cap``.

    A kept prompt of the train or valid split waits, from this moment, to be considered for labelers
    (`feedback.collection`); test prompts are never labelled. Keeping the same prompt id again changes nothing.

    Args:
        ledger: where the pool is.
        prompt: what to add.
        text: what it is compared by, `feedback.curation.text_of` its messages.
        most_per_customer: how many prompts of one customer the pool takes.
    """
    answer = ledger.run(
        "keep",
        [
            keys.PROMPTS,
            keys.PROMPT_BEGINNINGS,
            keys.PROMPT_CUSTOMERS,
            keys.PROMPTS_DROPPED,
            keys.wanting("comparison"),
            keys.wanting("demonstration"),
        ],
        [
            prompt.id,
            encode(prompt),
            prefixes.probe(text),
            prefixes.entry(text, prompt.id),
            prompt.customer,
            most_per_customer,
            int(prompt.split != "test"),
            f"{prompt.created_at.timestamp():.3f}",
        ],
    )
    return str(answer)


def kept_of(ledger: Ledger, customer: str) -> int:
    """Return how many prompts of a customer the pool holds."""
    with ledger.reach() as client:
        return int(cast(str | None, client.hget(keys.PROMPT_CUSTOMERS, customer)) or 0)


def drop(ledger: Ledger, reason: str) -> None:
    """Count a prompt that a rule refused."""
    with ledger.reach() as client:
        client.hincrby(keys.PROMPTS_DROPPED, reason, 1)


def dropped(ledger: Ledger) -> dict[str, int]:
    """Return how many prompts were dropped, by reason."""
    with ledger.reach() as client:
        counts = cast(dict[str, str], client.hgetall(keys.PROMPTS_DROPPED))
    return {reason: int(count) for reason, count in counts.items()}


def get(ledger: Ledger, id: str) -> Prompt:
    """Return one prompt.

    Raises:
        NotFound: no such prompt.
    """
    prompt = ledger.hget(keys.PROMPTS, id, Prompt)
    if prompt is None:
        raise NotFound(f"no prompt {id!r}")
    return prompt


def get_many(ledger: Ledger, ids: list[str]) -> list[Prompt | None]:
    """Return the prompts with these ids, None where there is none."""
    if not ids:
        return []
    with ledger.reach() as client:
        texts = cast(list[str | None], client.hmget(keys.PROMPTS, ids))
    return [decode_or_none(text, Prompt) for text in texts]


def each(ledger: Ledger) -> Iterator[Prompt]:
    """Yield the pool in no order, a page at a time; what is added or removed meanwhile may be missing."""
    with ledger.reach() as client:
        for _, text in cast(Iterator[tuple[str, str]], client.hscan_iter(keys.PROMPTS, count=1000)):
            yield decode(text, Prompt)


def all_prompts(ledger: Ledger) -> list[Prompt]:
    """Return the pool, oldest first."""
    return ledger.hall(keys.PROMPTS, Prompt)


def count(ledger: Ledger) -> int:
    """Return how many prompts the pool holds."""
    with ledger.reach() as client:
        return int(client.hlen(keys.PROMPTS))
