"""Comparisons with a known answer: kept, and held against what a labeler said.

Knows what a correct ranking must say; which labelers are checked, and what follows from it, is decided elsewhere.
"""

from collections.abc import Iterable

from feedback import comparisons, keys
from feedback.client import Ledger, encode
from feedback.errors import InvalidRecord, NotFound
from feedback.records import GoldCheck, Outcome

Pair = tuple[int, int]
"""(better, worse) completion indices."""


def add(ledger: Ledger, check: GoldCheck) -> None:
    """Store a check, in place of an earlier one of the same comparison.

    Raises:
        NotFound: no such comparison.
        InvalidRecord: it names no pair, a completion that is not there, or contradicts itself.
    """
    comparison = comparisons.get(ledger, check.comparison_id)
    validate(check, len(comparison.completions))
    with ledger.reach() as client:
        client.hset(keys.GOLD, check.comparison_id, encode(check))


def validate(check: GoldCheck, completions: int) -> None:
    """Raise `InvalidRecord` unless some ranking of so many completions can satisfy the check."""
    if not check.pairs:
        raise InvalidRecord(f"the check of {check.comparison_id} names no pair")
    for better, worse in check.pairs:
        if better not in range(completions) or worse not in range(completions):
            raise InvalidRecord(f"pair ({better}, {worse}) names a completion that is not there: {completions} are")
    if _has_cycle(check.pairs):
        raise InvalidRecord(f"the pairs {check.pairs} contradict each other; no ranking satisfies them")


def remove(ledger: Ledger, comparison_id: str) -> None:
    """Forget a check; copies that labelers were given already are judged no more.

    Raises:
        NotFound: there is none of that comparison.
    """
    with ledger.reach() as client:
        if not client.hdel(keys.GOLD, comparison_id):
            raise NotFound(f"no gold check of comparison {comparison_id!r}")


def get(ledger: Ledger, comparison_id: str) -> GoldCheck | None:
    """Return the check of a comparison, or None."""
    return ledger.hget(keys.GOLD, comparison_id, GoldCheck)


def all_checks(ledger: Ledger) -> list[GoldCheck]:
    """Return all checks, hidden ones and those for practice, by the age of their comparisons."""
    return ledger.hall(keys.GOLD, GoldCheck)


def violated(check: GoldCheck, label_ranking: list[list[int]], outcome: Outcome = "ranked") -> list[Pair]:
    """Return the pairs of a check that a label does not order as it must.

    A tie, a completion that was left out and a verdict on all completions at once (``all_bad``, ``all_good``) order
    nothing, so they violate each pair that they touch: otherwise who never decides would never fail.
    """
    if outcome != "ranked":
        return list(check.pairs)
    place = {index: position for position, group in enumerate(label_ranking) for index in group}
    return [
        (better, worse)
        for better, worse in check.pairs
        if better not in place or worse not in place or place[better] >= place[worse]
    ]


def _has_cycle(pairs: Iterable[Pair]) -> bool:
    """Tell whether "better than" leads back to where it began (Kahn's algorithm)."""
    left = set(pairs)
    while left:
        beaten = {worse for _, worse in left}
        free = {pair for pair in left if pair[0] not in beaten}
        if not free:
            return True
        left -= free
    return False
