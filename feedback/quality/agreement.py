"""How far labelers agree: raw shares, Cohen's kappa, Krippendorff's alpha, Kendall's tau-b, with intervals.

Works on plain rows, so that the ledger's labels and published data go through the same code. Intervals are percentile
bootstraps over items: votes on one item hang together, items do not (Efron and Tibshirani 1993, chapter 13).
"""

import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import krippendorff
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from feedback.quality.figures import Estimate

Floats = NDArray[np.float64]
Value = Literal["a", "b", "tie"]
Level = Literal["nominal", "ordinal", "interval"]
VALUES: tuple[Value, ...] = ("a", "b", "tie")
DECIDED: tuple[Value, ...] = ("a", "b")
RESAMPLES = 500
DRAWN_AT_ONCE = 500_000
"""Items drawn in one go, over resamples."""


class Vote(NamedTuple):
    """What one labeler said of one pair of completions."""

    item: str
    """What is drawn as a whole in the bootstrap: a prompt, a comparison."""
    pair: Hashable
    """Which pair within the item."""
    labeler: str
    value: Value


class Rating(NamedTuple):
    """A number that one labeler gave to one completion."""

    item: str
    completion: Hashable
    labeler: str
    value: float


def pairwise(votes: Iterable[Vote], *, ties: bool = False, seed: int = 0) -> Estimate:
    """Return the share of pairs of votes on the same pair of completions that say the same.

    Args:
        votes: of people who are compared with each other.
        ties: count "tie" as a third answer; if not, votes for a tie are left out.
        seed: of the bootstrap.
    """
    alike: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for (item, _), counts in _counts(votes, VALUES if ties else DECIDED).items():
        n = sum(counts)
        alike[item][0] += sum(each * (each - 1) / 2 for each in counts)
        alike[item][1] += n * (n - 1) / 2
    return ratio(list(alike.values()), seed)


def share(votes: Iterable[Vote]) -> float | None:
    """Return the figure of `pairwise` alone, ties left out; None if no two votes can be compared."""
    alike = of = 0.0
    for counts in _counts(votes, DECIDED).values():
        n = sum(counts)
        alike += sum(each * (each - 1) / 2 for each in counts)
        of += n * (n - 1) / 2
    return alike / of if of else None


def between(one: Iterable[Vote], others: Iterable[Vote], *, ties: bool = False, seed: int = 0) -> Estimate:
    """Return how often a vote of ``one`` says the same as a vote of ``others`` on the same pair of completions."""
    values = VALUES if ties else DECIDED
    mine, theirs = _counts(one, values), _counts(others, values)
    alike: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for unit, counts in mine.items():
        found = theirs.get(unit)
        if found is not None:
            alike[unit[0]][0] += sum(a * b for a, b in zip(counts, found, strict=True))
            alike[unit[0]][1] += sum(counts) * sum(found)
    return ratio(list(alike.values()), seed)


def against_rest(votes: Iterable[Vote]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return labeler -> item -> (votes of others that say the same, votes of others), ties left out.

    `ratio` of the values is a labeler's agreement with all others.
    """
    units: dict[tuple[str, Hashable], list[Vote]] = defaultdict(list)
    for vote in votes:
        if vote.value != "tie":
            units[vote.item, vote.pair].append(vote)
    found: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for (item, _), cast in units.items():
        for vote in cast if len(cast) > 1 else ():
            alike, of = found[vote.labeler].get(item, (0.0, 0.0))
            same = sum(other.value == vote.value for other in cast) - 1
            found[vote.labeler][item] = (alike + same, of + len(cast) - 1)
    return found


def unanimous(votes: Iterable[Vote], voters: int) -> float:
    """Return the share of pairs with at least so many votes on which all votes are the same, ties counted."""
    full = [counts for counts in _counts(votes, VALUES).values() if sum(counts) >= voters]
    return sum(max(counts) == sum(counts) for counts in full) / len(full) if full else float("nan")


def kappa(votes: Iterable[Vote], one: str, other: str) -> float:
    """Return Cohen's kappa of two labelers over the pairs that both judged, ties counted (Cohen 1960)."""
    said = {name: {(v.item, v.pair): v.value for v in votes if v.labeler == name} for name in (one, other)}
    shared = said[one].keys() & said[other].keys()
    if not shared:
        return float("nan")
    table = np.zeros((3, 3))
    for unit in shared:
        table[VALUES.index(said[one][unit]), VALUES.index(said[other][unit])] += 1
    table /= table.sum()
    chance = float(table.sum(0) @ table.sum(1))
    return float((np.trace(table) - chance) / (1 - chance)) if chance < 1 else float("nan")


def alpha(votes: Iterable[Vote], *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Return Krippendorff's alpha (nominal) of the outcomes a, b and tie; 0 is chance, 1 full agreement."""
    return _alpha(_counts(votes, VALUES), len(VALUES), "nominal", resamples, seed)


def rating_alpha(
    ratings: Iterable[Rating], level: Literal["ordinal", "interval"], *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Return Krippendorff's alpha of scores from 1 to 7."""
    found: dict[tuple[str, Hashable], list[int]] = defaultdict(lambda: [0] * 7)
    for rating in ratings:
        found[rating.item, rating.completion][int(rating.value) - 1] += 1
    return _alpha(found, 7, level, resamples, seed)


def tau_b(orders: Mapping[str, Mapping[str, Mapping[int, int]]], *, seed: int = 0) -> Estimate:
    """Return the mean of Kendall's tau-b between two labelers' orders of one item.

    Args:
        orders: item -> labeler -> completion index -> place; only completions that both placed are compared.
        seed: of the bootstrap.
    """
    sums = []
    for labelers in orders.values():
        found = [_tau(one, other) for one, other in itertools.combinations(labelers.values(), 2)]
        kept = [each for each in found if each is not None]
        if kept:
            sums.append([sum(kept), float(len(kept))])
    return ratio(sums, seed)


def _tau(one: Mapping[int, int], other: Mapping[int, int]) -> float | None:
    """Return tau-b, or None where one of the two ties everything."""
    shared = sorted(one.keys() & other.keys())
    first, second = [one[index] for index in shared], [other[index] for index in shared]
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return _library_tau(tuple(first), tuple(second))


@lru_cache(maxsize=65_536)
def _library_tau(first: tuple[int, ...], second: tuple[int, ...]) -> float:
    """Return tau-b; remembered, because four completions have only 75 orders."""
    return float(stats.kendalltau(first, second, variant="b").statistic)


def ratio(sums: Sequence[Sequence[float]], seed: int = 0) -> Estimate:
    """Return the ratio of two sums over items, with its bootstrap interval.

    Args:
        sums: (numerator, denominator) of each item.
        seed: of the bootstrap.
    """
    array = np.array([each for each in sums if each[1] > 0], dtype=float).reshape(-1, 2)
    if not len(array):
        return Estimate()
    value = float(array[:, 0].sum() / array[:, 1].sum())
    drawn = _resampled(array, RESAMPLES, seed)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return Estimate(value, float(low), float(high), len(array))


def _resampled(array: Floats, resamples: int, seed: int) -> Floats:
    """Return the column sums of resamples of the rows, (resamples, columns), a batch at a time to spare memory."""
    rng, items = np.random.default_rng(seed), len(array)
    batch, found = max(1, DRAWN_AT_ONCE // items), []
    for start in range(0, resamples, batch):
        size = min(batch, resamples - start)
        drawn = rng.integers(items, size=(size, items)) + items * np.arange(size)[:, None]
        found.append(np.bincount(drawn.ravel(), minlength=size * items).reshape(size, items) @ array)
    return np.concatenate(found)


def _counts(votes: Iterable[Vote], values: Sequence[Value]) -> dict[tuple[str, Hashable], list[int]]:
    """Return unit -> how many votes said each value."""
    found: dict[tuple[str, Hashable], list[int]] = defaultdict(lambda: [0] * len(values))
    for vote in votes:
        if vote.value in values:
            found[vote.item, vote.pair][values.index(vote.value)] += 1
    return found


def _alpha(
    counts: Mapping[tuple[str, Hashable], list[int]], values: int, level: Level, resamples: int, seed: int
) -> Estimate:
    units: dict[str, list[list[int]]] = defaultdict(list)
    for (item, _), each in counts.items():
        if sum(each) > 1:
            units[item].append(each)
    if not units:
        return Estimate()
    tables = [np.array(each) for each in units.values()]
    value = _library_alpha(np.concatenate(tables), values, level)
    if value is None:
        return Estimate(n=len(tables))
    met = np.array([coincidences(table).ravel() for table in tables])
    drawn = alpha_of(_resampled(met, resamples, seed).reshape(-1, values, values), level)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Estimate(value, float(low), float(high), len(tables))


def coincidences(table: NDArray[np.int_]) -> Floats:
    """Return how often each value meets each other one within the units of a table of value counts.

    Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C.
    """
    counts = table.astype(float)
    weighed = counts / (counts.sum(axis=1, keepdims=True) - 1)
    return np.asarray(counts.T @ weighed - np.diag(weighed.sum(axis=0)))


def alpha_of(met: Floats, level: Level) -> Floats:
    """Return alpha of each table of coincidences, (tables, values, values); NaN where only one value occurs.

    The library's figure from sums that a bootstrap can draw a thousand times; the figure itself is the library's.
    """
    totals = met.sum(axis=-1)
    n = totals.sum(axis=-1)
    expected = totals[:, :, None] * totals[:, None, :]
    ranks = np.cumsum(totals, axis=-1) - totals / 2
    apart = {
        "nominal": 1.0 - np.eye(met.shape[-1])[None],
        "interval": np.subtract.outer(np.arange(met.shape[-1]), np.arange(met.shape[-1]))[None] ** 2.0,
        "ordinal": (ranks[:, :, None] - ranks[:, None, :]) ** 2,
    }[level]
    seen, chance = (met * apart).sum(axis=(1, 2)), (expected * apart).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(chance > 0, 1 - (n - 1) * seen / chance, np.nan))


def _library_alpha(table: NDArray[np.int_], values: int, level: Level) -> float | None:
    """Return alpha of value counts per unit, or None where only one value occurs: then there is no chance level."""
    if np.count_nonzero(table.sum(0)) < 2:
        return None
    return float(krippendorff.alpha(value_counts=table, value_domain=list(range(values)), level_of_measurement=level))
