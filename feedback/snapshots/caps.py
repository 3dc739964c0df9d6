"""Caps: nobody may make up more than a share of what trains. Pure functions.

A fraction of a per cent of poisoned preferences already moves a reward model (Rando and Tramer, arXiv:2311.14455), so
no customer is more than 0.5 % of the training rows and no labeler more than 10 %. Where there are too few people for
that, the share is relaxed to twice an equal part, and nobody is ever cut below `Caps.at_least` rows.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from feedback.records import Comparison, Label
from feedback.settings import Settings
from feedback.votes import GROUP as CUSTOMERS

IMPORTED = "imported"
"""Labeler group of imported judgements: an operator vouches for the whole set, so no cap cuts it."""
UNCAPPED = (CUSTOMERS, IMPORTED, "reviewer")
"""Labeler groups whose annotators are no labelers of ours; customers' votes have a share of their own."""
HELD_OUT = "held-out"
Pair = tuple[Label, Comparison]


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """How much one party may be of the rows that train."""

    labeler_share: float = 0.1
    """Largest share of one labeler."""
    customer_share: float = 0.005
    """Largest share of one customer's prompts."""
    at_least: int = 100
    """Rows of anybody that no cap takes away: below, a share says little."""
    votes_share: float = 0.1
    """Largest share of customers' votes, all customers together: anybody with a key may vote."""

    @classmethod
    def of(cls, settings: Settings) -> "Caps":
        """Return the caps that the settings name."""
        return cls(
            labeler_share=settings.snapshot_labeler_percent / 100,
            customer_share=settings.snapshot_customer_percent / 100,
            at_least=settings.snapshot_at_least,
        )


def apply(pairs: list[Pair], caps: Caps) -> tuple[list[Pair], dict[str, str], dict[str, Any]]:
    """Cut everybody to their share; return what stays, {label id: reason}, and the caps as they were applied.

    Which rows of a party stay is decided by the hash of the label's id: an even sample of all times, and a larger
    snapshot keeps what a smaller one kept.
    """
    left_out: dict[str, str] = {}
    applied: dict[str, Any] = {"at_least": caps.at_least, "votes_share": caps.votes_share}
    rules: tuple[tuple[str, float, Callable[[Pair], str]], ...] = (
        ("labeler", caps.labeler_share, _labeler),
        ("customer", caps.customer_share, _customer),
    )
    before = -1
    while len(left_out) != before:  # what one cap takes away makes the others' shares larger
        before = len(left_out)
        pairs, beyond = limit_votes(pairs, caps.votes_share)
        left_out |= beyond
        for name, share, whose in rules:
            rows = _by_party(pairs, whose)
            possible = applied.setdefault(f"{name}_share", min(1.0, max(share, 2 / len(rows))) if rows else share)
            most = max(caps.at_least, level([len(each) for each in rows.values()], possible))
            over = {id for ids in rows.values() for id in ids[most:]}
            applied[f"most_of_one_{name}"] = most
            left_out |= dict.fromkeys(sorted(over), f"{name} cap")
            pairs = [pair for pair in pairs if pair[0].id not in over]
    return pairs, left_out, applied


def level(counts: Sequence[int], share: float) -> int:
    """Return the largest number of rows that one party may have so that it is at most ``share`` of what is left.

    Everybody above it is cut to it; the number is the largest ``c`` with ``c <= share * sum(min(count, c))``.
    """
    low, high = 0, max(counts, default=0)
    while low < high:
        middle = (low + high + 1) // 2
        if middle <= share * sum(min(count, middle) for count in counts) + 1e-9:
            low = middle
        else:
            high = middle - 1
    return low


def limit_votes(pairs: list[Pair], most_share: float) -> tuple[list[Pair], dict[str, str]]:
    """Leave out customers' votes beyond their share of all labels; return what stays and {label id: reason}.

    Customers take turns, each with their oldest vote first, so that nobody fills the share alone.
    """
    votes = [label for label, _ in pairs if label.labeler_group == CUSTOMERS]
    allowed = int(most_share / (1 - most_share) * (len(pairs) - len(votes)) + 1e-9)
    turn: defaultdict[str, int] = defaultdict(int)
    turns: dict[str, tuple[int, int]] = {}
    for place, label in enumerate(votes):
        turns[label.id] = (turn[label.labeler], place)
        turn[label.labeler] += 1
    beyond = set(sorted(turns, key=lambda id: turns[id])[allowed:])
    return [pair for pair in pairs if pair[0].id not in beyond], dict.fromkeys(sorted(beyond), "customers' share")


def _by_party(pairs: list[Pair], whose: Callable[[Pair], str]) -> dict[str, list[str]]:
    """Return party -> ids of its rows that train, those that stay first."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        if pair[1].split == "train" and pair[0].labeler_group != HELD_OUT and (name := whose(pair)):
            found[name].append(pair[0].id)
    return {name: sorted(ids, key=_place) for name, ids in found.items()}


def _place(id: str) -> bytes:
    return hashlib.sha256(id.encode()).digest()


def _labeler(pair: Pair) -> str:
    return "" if pair[0].labeler_group in UNCAPPED else pair[0].labeler


def _customer(pair: Pair) -> str:
    return "" if pair[0].labeler_group == IMPORTED else pair[1].customer
