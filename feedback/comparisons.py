"""Comparisons from wish to queue: planned, sampled, opened to labelers.

The wish for K completions lives here, so a lost Celery message costs time and never a comparison.
"""

import time
from typing import cast

import msgspec

from feedback import keys, leases
from feedback.client import Ledger, decode_or_none, encode
from feedback.errors import Conflict, NotFound
from feedback.ids import new_id
from feedback.records import Comparison, Completion, Prompt, Purpose, utc_now

MAX_ATTEMPTS = 8
"""A comparison that could not be sampled this often goes to the dead letters."""


def plan(
    ledger: Ledger,
    prompt: Prompt,
    k: int,
    *,
    purpose: Purpose = "training",
    overlap: int = 1,
    models: list[str] | None = None,
) -> Comparison:
    """Record the wish for K completions of ``prompt`` and return the comparison, still without completions."""
    comparison = Comparison(
        id=new_id("cmp"),
        created_at=utc_now(),
        prompt_id=prompt.id,
        customer=prompt.customer,
        messages=prompt.messages,
        split=prompt.split,
        k=k,
        purpose=purpose,
        overlap=overlap,
        models=models or ["live"],
    )
    ledger.run(
        "plan",
        [keys.comparison(comparison.id), keys.SAMPLING],
        [comparison.id, encode(comparison), f"{time.time():.3f}"],
    )
    return comparison


def get(ledger: Ledger, id: str) -> Comparison:
    """Return one comparison.

    Raises:
        NotFound: no such comparison.
    """
    comparison = ledger.get(keys.comparison(id), Comparison)
    if comparison is None:
        raise NotFound(f"no comparison {id!r}")
    return comparison


def get_many(ledger: Ledger, ids: list[str]) -> list[Comparison | None]:
    """Return the comparisons with these ids, None where there is none."""
    if not ids:
        return []
    with ledger.reach() as client:
        texts = cast(list[str | None], client.mget([keys.comparison(id) for id in ids]))
    return [decode_or_none(text, Comparison) for text in texts]


def attempt(ledger: Ledger, id: str) -> int:
    """Count and date an attempt at sampling; return its number, which is also the fencing token of `complete`."""
    with ledger.reach() as client:
        client.zadd(keys.SAMPLING, {id: time.time()}, xx=True)
        return int(client.hincrby(keys.SAMPLING_ATTEMPTS, id, 1))


def complete(ledger: Ledger, comparison: Comparison, completions: list[Completion], queue: str | None = None) -> bool:
    """Store the completions and open the comparison to labelers, in one move.

    Returns:
        False if it was complete already (another attempt was faster); nothing changes then.

    Raises:
        Conflict: not exactly K completions.
    """
    if len(completions) != comparison.k:
        raise Conflict(f"{comparison.id} wants {comparison.k} completions, got {len(completions)}")
    full = msgspec.structs.replace(comparison, completions=completions)
    name = queue or comparison.purpose
    done = ledger.run(
        "complete",
        [
            keys.comparison(comparison.id),
            keys.SAMPLING,
            keys.SAMPLING_ATTEMPTS,
            keys.item(comparison.id),
            keys.queue(name),
        ],
        [comparison.id, encode(full), name, comparison.overlap, f"{comparison.created_at.timestamp():.3f}"],
    )
    return bool(done)


def stale(ledger: Ledger, older_than_s: float, most: int = 500) -> list[str]:
    """Return ids of comparisons without completions that nobody attempted within ``older_than_s``."""
    with ledger.reach() as client:
        found = client.zrange(keys.SAMPLING, "-inf", time.time() - older_than_s, byscore=True, offset=0, num=most)
    return cast(list[str], found)


def bury(ledger: Ledger, id: str, reason: str) -> None:
    """Move a comparison that cannot be sampled to the dead letters."""
    with ledger.reach() as client:
        client.zrem(keys.SAMPLING, id)
        client.hdel(keys.SAMPLING_ATTEMPTS, id)
        client.xadd(keys.DEAD, {"id": id, "reason": reason}, maxlen=10_000)


def being_sampled(ledger: Ledger) -> int:
    """Return how many comparisons still wait for completions."""
    with ledger.reach() as client:
        return int(client.zcard(keys.SAMPLING))


def open_count(ledger: Ledger, purpose: Purpose = "training") -> int:
    """Return how many comparisons of a purpose wait for a labeler."""
    return leases.waiting(ledger, purpose)
