"""Labels: checked against their comparison, appended under a live lease, never overwritten."""

from collections.abc import Iterator

from feedback import keys, leases
from feedback.client import Ledger, encode
from feedback.errors import InvalidRecord
from feedback.records import Comparison, Label


def check(label: Label, comparison: Comparison) -> None:
    """Check that a label fits its comparison.

    Raises:
        InvalidRecord: it is a label of another comparison, the ranking is no permutation of the completions, or
            quality or flags do not fit; says which.
    """
    if label.comparison_id != comparison.id:
        raise InvalidRecord(f"label {label.id} is of {label.comparison_id}, not of {comparison.id}")
    k = len(comparison.completions)
    ranked = [index for group in label.ranking for index in group]
    if sorted(ranked) != list(range(k)):
        raise InvalidRecord(
            f"ranking {label.ranking} must hold each of 0..{k - 1} exactly once, in tie groups, best first"
        )
    if any(not group for group in label.ranking):
        raise InvalidRecord(f"ranking {label.ranking} has an empty tie group")
    if label.quality and len(label.quality) != k:
        raise InvalidRecord(f"quality has {len(label.quality)} entries for {k} completions")
    for flag, indices in label.flags.items():
        if any(index not in range(k) for index in indices):
            raise InvalidRecord(f"flag {flag!r} names completion {indices}, there are {k}")


def submit(ledger: Ledger, label: Label, comparison: Comparison, token: int) -> leases.Answer:
    """Append a label under its lease; a repeated submission returns its first answer.

    Raises:
        InvalidRecord: the label does not fit the comparison.
        LeaseLost: the labeler no longer holds the comparison; nothing was written.
    """
    check(label, comparison)
    return leases.submit(ledger, keys.LABELS, comparison.id, label.labeler, token, label.id, encode(label))


def read(ledger: Ledger, after: str = "-") -> Iterator[tuple[str, Label]]:
    """Yield (entry id, label), oldest first, beginning behind ``after``."""
    yield from ledger.stream(keys.LABELS, Label, after)


def count(ledger: Ledger) -> int:
    """Return how many labels were ever taken."""
    with ledger.reach() as client:
        return int(client.xlen(keys.LABELS))


def pairs(ranking: list[list[int]]) -> Iterator[tuple[int, int, str]]:
    """Yield (a, b, winner) for all K-choose-2 pairs of a ranking, ``a`` < ``b``, winner ``a``, ``b`` or ``tie``."""
    place = {index: position for position, group in enumerate(ranking) for index in group}
    ordered = sorted(place)
    for position, a in enumerate(ordered):
        for b in ordered[position + 1 :]:
            winner = "tie" if place[a] == place[b] else ("a" if place[a] < place[b] else "b")
            yield a, b, winner
