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
PRIORITY_S = 1e9
"""Seconds of waiting that priority is worth: more than anything ever waits."""


def plan(
    ledger: Ledger,
    prompt: Prompt,
    k: int,
    *,
    purpose: Purpose = "training",
    overlap: int = 1,
    models: list[str] | None = None,
    id: str | None = None,
    priority: bool = False,
) -> Comparison:
    """Record the wish for K completions of ``prompt`` and return the comparison, still without completions.

    With an ``id`` that was planned before, nothing changes, so a planner may repeat itself after a crash.
    """
    comparison = Comparison(
        id=id or new_id("cmp"),
        created_at=utc_now(),
        prompt_id=prompt.id,
        customer=prompt.customer,
        messages=prompt.messages,
        split=prompt.split,
        k=k,
        purpose=purpose,
        overlap=overlap,
        models=models or ["live"],
        priority=priority,
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


def claim(ledger: Ledger, most: int, hidden_s: float) -> list[tuple[str, int]]:
    """Take up to ``most`` comparisons that are due for sampling; return (id, number of this attempt) of each.

    Nobody else is given them for ``hidden_s``; a sampler that needs longer says so with `keep_claims`, one that dies
    loses them when that time is over.
    """
    now = time.time()
    flat = ledger.run("claim", [keys.SAMPLING, keys.SAMPLING_ATTEMPTS], [f"{now:.3f}", f"{now + hidden_s:.3f}", most])
    return [(id, int(attempt)) for id, attempt in zip(flat[::2], flat[1::2], strict=True)]


def keep_claims(ledger: Ledger, ids: list[str], hidden_s: float) -> None:
    """Hide claimed comparisons from other samplers for ``hidden_s`` more (heartbeat)."""
    if ids:
        with ledger.reach() as client:
            client.zadd(keys.SAMPLING, dict.fromkeys(ids, time.time() + hidden_s), xx=True)


def postpone(ledger: Ledger, id: str, delay_s: float, *, counts: bool) -> bool:
    """Give a claimed comparison back, due in ``delay_s``; return False if it waits for completions no more.

    Args:
        ledger: where the comparison is.
        id: of the comparison.
        delay_s: seconds until it is due again.
        counts: whether the failed attempt counts towards `MAX_ATTEMPTS`; one that failed because the API was down
            says nothing about the comparison and does not.
    """
    postponed = ledger.run(
        "postpone",
        [keys.SAMPLING, keys.SAMPLING_ATTEMPTS],
        [id, f"{time.time() + delay_s:.3f}", int(not counts)],
    )
    return bool(postponed)


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
        [comparison.id, encode(full), name, comparison.overlap, f"{_place(comparison):.3f}"],
    )
    return bool(done)


def _place(comparison: Comparison) -> float:
    """Return the place in a queue: by age in seconds, those with priority before all others."""
    return comparison.created_at.timestamp() - PRIORITY_S * comparison.priority


def due(ledger: Ledger) -> int:
    """Return how many comparisons a sampler could claim now."""
    with ledger.reach() as client:
        return int(client.zcount(keys.SAMPLING, "-inf", time.time()))


def bury(ledger: Ledger, id: str, reason: str) -> None:
    """Move a comparison that cannot be sampled to the dead letters."""
    with ledger.reach() as client, client.pipeline(transaction=True) as move:
        move.zrem(keys.SAMPLING, id)
        move.hdel(keys.SAMPLING_ATTEMPTS, id)
        move.xadd(keys.DEAD, {"id": id, "reason": reason}, maxlen=10_000)
        move.execute()


def dead_count(ledger: Ledger) -> int:
    """Return how many comparisons lie among the dead letters."""
    with ledger.reach() as client:
        return int(client.xlen(keys.DEAD))


def being_sampled(ledger: Ledger) -> int:
    """Return how many comparisons still wait for completions."""
    with ledger.reach() as client:
        return int(client.zcard(keys.SAMPLING))


def open_count(ledger: Ledger, purpose: Purpose = "training") -> int:
    """Return how many comparisons of a purpose wait for a labeler."""
    return leases.waiting(ledger, purpose)


def take_place(ledger: Ledger, places: int, token: str, ttl_s: int) -> int | None:
    """Take one of the places for running sampling tasks; None if all are taken.

    Bounds how many samplers run at once over all workers; a place that is not renewed is free after ``ttl_s``.
    """
    for place in range(places):
        if ledger.run("hold", [keys.sampler(place)], [token, ttl_s]):
            return place
    return None


def keep_place(ledger: Ledger, place: int, token: str, ttl_s: int) -> bool:
    """Renew a place; return False if somebody else has it by now."""
    return bool(ledger.run("hold", [keys.sampler(place)], [token, ttl_s]))


def leave_place(ledger: Ledger, place: int, token: str) -> None:
    """Free a place, if ``token`` still holds it."""
    ledger.run("let_go", [keys.sampler(place)], [token])
