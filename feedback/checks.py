"""Checks for labelers, prepared ahead: copies of comparisons with a known answer, or of what they answered before.

A copy has the shape of an ordinary item and an id of the same age as those that wait, so that nothing tells it apart;
it is on the list of one labeler, who is given one now and then instead of an ordinary item (see `QueueConfig`). Knows
how to choose and to copy; how an answer is judged is decided elsewhere.
"""

import random
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple, cast

import msgspec

from feedback import comparisons, keys
from feedback.client import Ledger, encode
from feedback.ids import made_at_s
from feedback.records import Comparison, GoldCheck, QueueConfig, utc_now

Kind = Literal["gold", "repeat"]
WAITING = 3
"""Checks that wait for one labeler at a time."""
APART = 200
"""A labeler is given the same comparison as a check again after so many labels at the earliest."""
REPEAT_AFTER = 30
"""Own labels that must lie between an answer and its repetition."""
NEIGHBOURS = 20
"""Waiting items whose age a copy may take."""


class Past(NamedTuple):
    """What one labeler answered, as far as it decides which checks they are given; oldest first."""

    own: Sequence[str]
    """Ordinary comparisons."""
    checked: Sequence[str]
    """For each label: the comparison that it checked, or an empty text."""
    languages: Collection[str]


def shares(configs: Mapping[str, QueueConfig]) -> tuple[int, int]:
    """Return the largest share of gold checks, and of repeats, that any queue asks for, percent."""
    return max((each.gold_percent for each in configs.values()), default=0), max(
        (each.repeat_percent for each in configs.values()), default=0
    )


def prepare(
    ledger: Ledger,
    labeler: str,
    past: Past,
    gold: Sequence[GoldCheck],
    asked: tuple[int, int],
    rng: random.Random | None = None,
) -> int:
    """Fill the list of one labeler up to `WAITING` checks and return how many were added.

    Args:
        ledger: where the list is.
        labeler: who is to be checked.
        past: what they answered.
        gold: known answers; those for practice are passed over.
        asked: shares of gold checks and of repeats, percent; kinds are drawn in this proportion.
        rng: source of the draws.
    """
    draw = rng or random.Random()
    waiting = _waiting(ledger, labeler)
    added = 0
    for _ in range(WAITING - len(waiting)):
        kind = draw_kind(asked, draw)
        if kind is None:
            break
        options = (
            gold_options(gold, past, unseen(ledger, labeler, [check.comparison_id for check in gold]), waiting)
            if kind == "gold"
            else repeat_options(past, waiting)
        )
        original = _usable(ledger, options, labeler, past.languages, draw)
        if original is not None and _put(ledger, labeler, original, kind, draw):
            waiting.add(original.id)
            added += 1
    return added


def draw_kind(asked: tuple[int, int], rng: random.Random) -> Kind | None:
    """Return what the next check is to be, in proportion to the shares; None if none is asked for."""
    if sum(asked) <= 0:
        return None
    return "gold" if rng.random() * sum(asked) < asked[0] else "repeat"


def gold_options(
    gold: Sequence[GoldCheck], past: Past, never_given: Collection[str], waiting: Collection[str]
) -> list[str]:
    """Return the comparisons that may check a labeler: not their own earlier items, nor lately or soon a check."""
    lately = set(past.checked[-APART:]) | set(past.own) | set(waiting)
    return [
        check.comparison_id
        for check in gold
        if not check.practice and check.comparison_id in never_given and check.comparison_id not in lately
    ]


def repeat_options(past: Past, waiting: Collection[str]) -> list[str]:
    """Return the labeler's own items that lie far enough back and were not repeated."""
    gone = set(past.checked) | set(waiting)
    return [id for id in past.own[: max(0, len(past.own) - REPEAT_AFTER)] if id not in gone]


def unseen(ledger: Ledger, labeler: str, ids: list[str]) -> set[str]:
    """Return those of the items that the labeler was never given."""
    if not ids:
        return set()
    with ledger.reach() as client:
        seen = cast(list[int], client.smismember(keys.seen(labeler), ids))
    return {id for id, was in zip(ids, seen, strict=True) if not was}


def copy_of(original: Comparison, kind: Kind, id: str) -> Comparison:
    """Return a comparison that asks for the same again, made when its id says."""
    made_s = made_at_s(id)
    moment = utc_now() if made_s is None else utc_now().fromtimestamp(made_s, utc_now().tzinfo)
    return msgspec.structs.replace(
        original, id=id, created_at=moment, purpose=kind, overlap=1, queue="", priority=False, check_of=original.id
    )


def like(neighbour: str, rng: random.Random) -> str:
    """Return a fresh comparison id (UUIDv7) made up to a second before another."""
    made_ms = round((made_at_s(neighbour) or 0.0) * 1000) - rng.randrange(1000)
    tail = secrets.randbits(74)
    return f"cmp_{made_ms:012x}7{tail >> 62:03x}{8 | (tail >> 60) & 3:x}{tail & (1 << 60) - 1:015x}"


def _waiting(ledger: Ledger, labeler: str) -> set[str]:
    """Return the comparisons whose copies wait for a labeler."""
    with ledger.reach() as client:
        ids = cast(list[str], client.lrange(keys.checks(labeler), 0, -1))
    return {
        found.check_of if found is not None else id
        for id, found in zip(ids, comparisons.get_many(ledger, ids), strict=True)
    }


def _usable(
    ledger: Ledger, options: list[str], labeler: str, languages: Collection[str], rng: random.Random
) -> Comparison | None:
    """Return one of the options that still exists, that the labeler did not write and whose language they read."""
    for id in rng.sample(options, min(len(options), 5)):
        found = comparisons.get_many(ledger, [id])[0]
        if found is not None and labeler not in found.authors and found.language in ("", *languages):
            return found
    return None


def _put(ledger: Ledger, labeler: str, original: Comparison, kind: Kind, rng: random.Random) -> bool:
    id = like(_neighbour(ledger, original, rng), rng)
    copy = copy_of(original, kind, id)
    done = ledger.run(
        "prepare",
        [keys.comparison(id), keys.item(id), keys.checks(labeler), keys.comparison(original.id)],
        [id, encode(copy), f"{copy.created_at.timestamp():.3f}", WAITING],
    )
    return bool(done)


def _neighbour(ledger: Ledger, original: Comparison, rng: random.Random) -> str:
    """Return an item that is served about now; the original itself while none waits."""
    with ledger.reach() as client:
        name = client.hget(keys.item(original.id), "queue") or "training"
        head = cast(list[str], client.zrange(keys.queue(name), 0, NEIGHBOURS - 1))
    dated = [id for id in head if made_at_s(id) is not None]
    return rng.choice(dated) if dated else original.id
