"""Comparisons from wish to queue: planned, sampled, opened to labelers.

The wish for K completions lives here, so a lost Celery message costs time and never a comparison. Each claim carries a
token from one counter that never goes down; whoever comes back with the token of an older claim changes nothing. Time
is the ledger's own clock, so a worker whose clock is wrong neither loses nor steals a claim.
"""

from typing import NamedTuple, cast

import msgspec

from feedback import keys, leases
from feedback.client import Ledger, decode_or_none, encode
from feedback.errors import Conflict, NotFound
from feedback.ids import new_id
from feedback.records import Comparison, Completion, Prompt, Purpose, utc_now

MAX_ATTEMPTS = 8
"""A comparison that could not be sampled this often goes to the dead letters."""
PRIORITY_S = 1e10
"""Seconds of waiting that priority is worth: places of items with priority are below zero, those of others above."""


class Claim(NamedTuple):
    """The right to sample one comparison, until it is not renewed in time."""

    id: str
    attempt: int
    """How often it was tried, this time included."""
    token: int
    """Fencing token: larger than that of every earlier claim, of this comparison or another."""
    abandoned: bool
    """Whether its last sampler was never heard of again."""


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
    queue: str = "",
) -> Comparison:
    """Record the wish for K completions of ``prompt`` and return the comparison, still without completions.

    With an ``id`` that was planned before, nothing changes, so a planner may repeat itself after a crash. One with
    ``priority`` is sampled, and later given to labelers, before all others.
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
        queue=queue,
        key_id=prompt.key_id,
        use_case=prompt.use_case,
        language=prompt.language,
        authors=[prompt.author] if prompt.author else [],
    )
    ledger.run(
        "plan",
        [keys.comparison(comparison.id), keys.SAMPLING],
        [comparison.id, encode(comparison), PRIORITY_S * comparison.priority],
    )
    return comparison


def add(ledger: Ledger, comparison: Comparison) -> bool:
    """Store a comparison that has its completions already, in no queue; return False if its id is known."""
    with ledger.reach() as client:
        return bool(client.set(keys.comparison(comparison.id), encode(comparison), nx=True))


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


def newest_fresh(ledger: Ledger, queue: str, most: int) -> list[Comparison]:
    """Return the last ``most`` comparisons of a queue that nobody was given yet, newest first."""
    if most <= 0:
        return []
    with ledger.reach() as client:
        ids = cast(list[str], client.zrevrange(keys.queue(queue), 0, most - 1))
    return [each for each in get_many(ledger, ids) if each is not None]


def claim(ledger: Ledger, most: int, hidden_s: float) -> list[Claim]:
    """Take up to ``most`` comparisons that are due for sampling, those with priority first.

    Nobody else is given them for ``hidden_s``; a sampler that needs longer says so with `keep_claims`, one that dies
    loses them when that time is over.
    """
    flat = ledger.run(
        "claim",
        [keys.SAMPLING, keys.SAMPLING_ATTEMPTS, keys.SAMPLING_CLAIMS, keys.SAMPLING_TOKEN],
        [hidden_s, most],
    )
    return [
        Claim(id, int(attempt), int(token), bool(abandoned))
        for id, attempt, token, abandoned in zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True)
    ]


def keep_claims(ledger: Ledger, tokens: dict[str, int], hidden_s: float) -> set[str]:
    """Hide claimed comparisons from other samplers for ``hidden_s`` more (heartbeat).

    Args:
        ledger: where they are.
        tokens: comparison id -> token of the claim.
        hidden_s: seconds until somebody else may claim them.

    Returns:
        The ids that are lost: complete, erased, or claimed by somebody else in the meantime.
    """
    if not tokens:
        return set()
    pairs = [word for id, token in tokens.items() for word in (id, token)]
    return set(ledger.run("keep_claims", [keys.SAMPLING, keys.SAMPLING_CLAIMS], [hidden_s, *pairs]))


def postpone(ledger: Ledger, id: str, delay_s: float, *, token: int, counts: bool) -> bool:
    """Give a claimed comparison back, due in ``delay_s``; return False if the claim is not the newest any more.

    Args:
        ledger: where the comparison is.
        id: of the comparison.
        delay_s: seconds until it is due again.
        token: of the claim, which ends here.
        counts: whether the failed attempt counts towards `MAX_ATTEMPTS`; one that failed because the API was down
            says nothing about the comparison and does not.
    """
    postponed = ledger.run(
        "postpone",
        [keys.SAMPLING, keys.SAMPLING_ATTEMPTS, keys.SAMPLING_CLAIMS],
        [id, token, delay_s, int(not counts)],
    )
    return bool(postponed)


def complete(
    ledger: Ledger, comparison: Comparison, completions: list[Completion], *, token: int = 0, shown: bool = True
) -> bool:
    """Store the completions and open the comparison to labelers, in one move.

    Args:
        ledger: where the comparison is.
        comparison: as it was planned, with K as large as there are completions.
        completions: all of them.
        token: of the claim; 0 only for a comparison that nobody claimed.
        shown: whether labelers are to rank it; what needs no ranking is stored and goes into no queue.

    Returns:
        False if it was complete already, or claimed by somebody else since; nothing changes then.

    Raises:
        Conflict: not exactly K completions.
    """
    if len(completions) != comparison.k:
        raise Conflict(f"{comparison.id} wants {comparison.k} completions, got {len(completions)}")
    full = msgspec.structs.replace(comparison, completions=completions)
    name = comparison.queue or comparison.purpose
    done = ledger.run(
        "complete",
        [
            keys.comparison(comparison.id),
            keys.SAMPLING,
            keys.SAMPLING_ATTEMPTS,
            keys.SAMPLING_CLAIMS,
            keys.item(comparison.id),
            keys.queue(name),
        ],
        [
            comparison.id,
            token,
            encode(full),
            name if shown else "",
            comparison.overlap,
            f"{_place(comparison):.3f}",
            "\n".join(comparison.authors),
        ],
    )
    return bool(done)


def _place(comparison: Comparison) -> float:
    """Return the place in a queue: by age in seconds, those with priority before all others."""
    return comparison.created_at.timestamp() - PRIORITY_S * comparison.priority


def due(ledger: Ledger) -> int:
    """Return how many comparisons a sampler could claim now."""
    with ledger.reach() as client:
        seconds, microseconds = client.time()
        return int(client.zcount(keys.SAMPLING, "-inf", seconds + microseconds / 1e6))


def bury(ledger: Ledger, id: str, reason: str, detail: str = "", *, token: int = 0) -> bool:
    """Move a comparison that cannot be sampled to the dead letters.

    Args:
        ledger: where the comparison is.
        id: of the comparison.
        reason: why, in the words of a small list; counted.
        detail: what exactly happened.
        token: of the claim; 0 only for a comparison that nobody claimed.

    Returns:
        False if it does not wait for completions any more, or somebody else claimed it since; nothing changes then.
    """
    buried = ledger.run(
        "bury",
        [keys.SAMPLING, keys.SAMPLING_ATTEMPTS, keys.SAMPLING_CLAIMS, keys.DEAD, keys.SAMPLING_BURIED],
        [id, token, reason, detail],
    )
    return bool(buried)


def buried(ledger: Ledger) -> dict[str, int]:
    """Return how many comparisons were buried since the beginning, by reason."""
    with ledger.reach() as client:
        counts = cast(dict[str, str], client.hgetall(keys.SAMPLING_BURIED))
    return {reason: int(count) for reason, count in counts.items()}


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
