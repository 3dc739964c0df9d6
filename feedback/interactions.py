"""The log of what customers asked and what they got.

Appends and reads; who may be logged is decided where the request is answered, what becomes of it by curation.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Literal, cast

import msgspec

from feedback import keys
from feedback.client import Ledger, decode, encode
from feedback.errors import InvalidRecord, NotFound
from feedback.records import Interaction, Rating

TRIMMED = 5000
"""Most entries that one call of `trim` drops."""
Fate = Literal["relayed", "duplicate", "erased"]
FATES: dict[int, Fate] = {1: "relayed", 0: "duplicate", -1: "erased"}


def append(ledger: Ledger, interaction: Interaction, keep_s: int = keys.MONTH_S) -> bool:
    """Store the interaction for ``keep_s``; return False if it was stored before, or its customer erased since.

    Raises:
        InvalidRecord: it cannot be stored.
    """
    (fate,) = append_many(ledger, [(interaction, encode(interaction))], keep_s)
    if isinstance(fate, InvalidRecord):
        raise fate
    return fate == "relayed"


def append_many(ledger: Ledger, records: Sequence[tuple[Interaction, str]], keep_s: int) -> list[Fate | InvalidRecord]:
    """Store (interaction, its JSON) pairs in one move and say what became of each.

    A record that the ledger can never take gives an `InvalidRecord` in its place and hinders no other.

    Raises:
        LedgerUnavailable: the ledger does not answer or takes no writes; sending them again is safe.
    """
    if not records:
        return []
    rows = [(each.id, each.customer, f"{each.created_at.timestamp():.3f}", text) for each, text in records]
    fates = ledger.run("log_interactions", [keys.INTERACTIONS, keys.ERASED], [msgspec.msgpack.encode(rows), keep_s])
    return [
        InvalidRecord(f"the ledger refuses this record: {fate}") if isinstance(fate, str) else FATES[fate]
        for fate in fates
    ]


def get(ledger: Ledger, id: str) -> Interaction:
    """Return one interaction.

    Raises:
        NotFound: no such interaction, or it is older than its retention.
    """
    interaction = ledger.get(keys.interaction(id), Interaction)
    if interaction is None:
        raise NotFound(f"no interaction {id!r}; it may not be logged yet, or be past its retention")
    return interaction


def count(ledger: Ledger) -> int:
    """Return how many interactions were ever logged."""
    with ledger.reach() as client:
        if not client.exists(keys.INTERACTIONS):
            return 0
        return int(client.xinfo_stream(keys.INTERACTIONS)["entries-added"])


def read_new(ledger: Ledger, consumer: str, most: int = 200) -> Iterator[tuple[str, Interaction]]:
    """Yield (entry id, interaction) not yet curated: first what this consumer left unfinished, then new ones.

    Call `done` with the entry id once the interaction was dealt with.
    """
    _ensure_group(ledger)
    for start in ("0", ">"):
        with ledger.reach() as client:
            reply = client.xreadgroup(keys.CURATORS, consumer, {keys.INTERACTIONS: start}, count=most)
        for _, entries in reply or []:
            for entry_id, fields in cast(list[tuple[str, dict[str, str] | None]], entries):
                if fields:
                    yield entry_id, decode(fields["record"], Interaction)
                else:  # erased after it was read
                    done(ledger, [entry_id])


def reclaim(ledger: Ledger, consumer: str, idle_s: float) -> int:
    """Take over entries that another consumer read but did not finish within ``idle_s``; return how many."""
    _ensure_group(ledger)
    with ledger.reach() as client:
        reply = client.xautoclaim(
            keys.INTERACTIONS, keys.CURATORS, consumer, int(idle_s * 1000), count=500, justid=True
        )
    return len(reply)


def done(ledger: Ledger, entry_ids: list[str]) -> None:
    """Mark entries as curated."""
    if entry_ids:
        with ledger.reach() as client:
            client.xack(keys.INTERACTIONS, keys.CURATORS, *entry_ids)


def read(ledger: Ledger, after: str = "-") -> Iterator[tuple[str, Interaction]]:
    """Yield (entry id, interaction), oldest first, beginning behind ``after``."""
    yield from ledger.stream(keys.INTERACTIONS, Interaction, after)


def trim(ledger: Ledger, before: str, most: int, keep_s: float = inf, now: Callable[[], float] = time.time) -> int:
    """Shorten the stream to about ``most`` entries, none older than ``keep_s``.

    Drops only entries up to ``before`` that are curated, and at most `TRIMMED` at a time.

    Returns:
        How many entries were dropped.
    """
    with ledger.reach() as client:
        excess = int(client.xlen(keys.INTERACTIONS)) - most
        oldest = cast(list[tuple[str, object]], client.xrange(keys.INTERACTIONS, count=1))
        too_old_ms = (now() - keep_s) * 1000
        if not oldest or (excess <= 0 and _order(oldest[0][0])[0] >= too_old_ms):
            return 0
        _ensure_group(ledger)
        group = next(each for each in client.xinfo_groups(keys.INTERACTIONS) if each["name"] == keys.CURATORS)
        oldest = cast(list[tuple[str, object]], client.xrange(keys.INTERACTIONS, count=TRIMMED))
        doomed = [id for place, (id, _) in enumerate(oldest) if place < excess or _order(id)[0] < too_old_ms]
        last = min([doomed[-1], before, str(group["last-delivered-id"])], key=_order)
        milliseconds, sequence = _order(last)
        first_kept = f"{milliseconds}-{sequence + 1}"
        unfinished = client.xpending(keys.INTERACTIONS, keys.CURATORS)["min"]
        return int(
            client.xtrim(
                keys.INTERACTIONS, minid=min([first_kept, unfinished or first_kept], key=_order), approximate=False
            )
        )


def uncurated(ledger: Ledger) -> int:
    """Return how many interactions curation has yet to read or to finish."""
    if not count(ledger):
        return 0
    _ensure_group(ledger)
    with ledger.reach() as client:
        groups = client.xinfo_groups(keys.INTERACTIONS)
    group = next(each for each in groups if each["name"] == keys.CURATORS)
    return int(group["pending"]) + int(group["lag"] or 0)


def rate(ledger: Ledger, rating: Rating) -> bool:
    """Append a customer's rating; return False if this rating id was taken before."""
    taken = ledger.run("log", [keys.rating(rating.id), keys.RATINGS], [encode(rating), keys.MONTH_S, rating.id])
    return bool(taken)


def _ensure_group(ledger: Ledger) -> None:
    with ledger.reach() as client:
        groups = client.xinfo_groups(keys.INTERACTIONS) if client.exists(keys.INTERACTIONS) else []
        if not any(group["name"] == keys.CURATORS for group in groups):
            ledger.run("group", [keys.INTERACTIONS], [keys.CURATORS])


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, sequence = entry_id.split("-")
    return int(milliseconds), int(sequence)
