"""A sequential test of one labeler: do some of their rankings run against everybody else's, on purpose or by clicking?

Each label is held against what the *other* labelers of its item thought. Let ``d`` be how far a ranking follows them:
the sum, over the pairs that it orders, of their mean difference in opinion, counted negative where the ranking says the
opposite. An honest ranking is drawn with odds that grow with ``d`` (the generalised Mallows model, Fligner and Verducci
1986); as a ranking and its reverse have opposite ``d``, the normaliser drops out of

    P(this way round | this order or its reverse) = (1 - e) / (1 + exp(-b d)) + e / 2,

whose slope ``b`` and share of blunders ``e`` are fitted to the labels of everybody but the one who is judged: they are
honest in the main, and ``b`` says how far opinions carry. A labeler who reverses a share ``r`` of their labels makes
the ways round ``1 - r + r P(other way) / P(this way)`` times as likely as an honest one; who clicks at random, or on
places instead of texts, looks like ``r = 1/2``. The evidence is the mean of the products of these ratios over a few
shares ``r``: the odds of a mixture of culprits against an honest labeler. Under honesty it is a martingale that begins
at 1 (Robbins 1970), so it passes ``x`` with a chance of at most ``1/x``, however often one looks (Ville 1939). The bar
for a flag is lower than that bound: it is what nearly all honest labelers, simulated from the fit, stay below
throughout a window.

Knows neither names nor the ledger. Not seen by it: who is wrong the way most others are.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

Floats = NDArray[np.float64]
SHARES = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 1.0])
"""Shares of reversed labels that the mixture is made of, all weighing the same."""
WINDOW = 50
"""Labels of a person that are looked at together, the latest ones."""
FALSE_FLAGS = 0.05
"""Share of honest labelers whom the bar may hit in one window."""
SIMULATED = 1000
"""Honest labelers simulated for a bar."""
MOST_BLUNDERS = 0.3
ENOUGH = 100
"""Labels below which nothing is fitted: the odds of all would hang on a few."""


class Honest(NamedTuple):
    """How an honest ranking depends on the opinions of others."""

    slope: float
    """Log odds per unit of agreement ``d``."""
    blunders: float
    """Share of labels that say nothing, whoever gives them."""

    def ways(self, agreement: Floats) -> Floats:
        """Return P(this way round) of labels with this agreement."""
        leaning = 1 / (1 + np.exp(-np.clip(self.slope * agreement, -50, 50)))
        return np.asarray((1 - self.blunders) * leaning + self.blunders / 2)


class Verdict(NamedTuple):
    """What the latest labels of one labeler say of them."""

    odds: float
    """Highest odds that they reach."""
    bar: float
    """Odds from which on the labeler is flagged."""
    after: int | None
    """Labels of the window until the bar was reached; None if it was not."""


def opinion(ranking: Sequence[Sequence[int]], quality: Sequence[int], completions: int) -> list[float] | None:
    """Return what a label says each completion is worth, 1 to 7: its scores, or places spread over the same range.

    None if it says nothing of some completion.
    """
    if len(quality) == completions:
        return [float(score) for score in quality]
    place = {index: position for position, group in enumerate(ranking) for index in group}
    if len(place) < completions:
        return None
    step = 6 / (len(ranking) - 1) if len(ranking) > 1 else 0.0
    return [7 - step * place[index] for index in range(completions)]


def agreement(ranking: Sequence[Sequence[int]], others: Sequence[Sequence[float]]) -> float:
    """Return ``d``: how far a ranking follows the mean opinion of others, in points of the scale from 1 to 7.

    Args:
        ranking: tie groups, best first; a pair that is tied or left out adds nothing.
        others: opinions of at least one other labeler.
    """
    mean = [sum(each) / len(each) for each in zip(*others, strict=True)]
    total = 0.0
    for position, group in enumerate(ranking):
        for below in ranking[position + 1 :]:
            total += sum(mean[better] - mean[worse] for better in group for worse in below)
    return total


def fit(agreements: Sequence[float]) -> Honest | None:
    """Return the honest model that makes a pool's labels likeliest; None for fewer than `ENOUGH`."""
    if len(agreements) < ENOUGH:
        return None
    pool = np.asarray(agreements, dtype=float)

    def cost(unbound: Floats) -> float:
        return float(-np.log(_unfold(unbound).ways(pool)).sum())

    found = optimize.minimize(
        cost, np.array([-1.0, -2.0]), method="Nelder-Mead", options={"xatol": 0.01, "fatol": 0.01}
    )
    return _unfold(found.x)


def _unfold(unbound: Floats) -> Honest:
    """Return the model that two numbers without bounds stand for; blunders keep every ratio finite."""
    share = 1 / (1 + float(np.exp(-np.clip(unbound[1], -50, 50))))
    return Honest(float(np.exp(np.clip(unbound[0], -20, 5))), 0.005 + (MOST_BLUNDERS - 0.005) * share)


def evidence(agreements: Sequence[float] | Floats, honest: Honest) -> Floats:
    """Return the running odds, after each label, that some share of them is reversed.

    Args:
        agreements: ``d`` of one labeler's labels, in the order in which they were given; or a table of several
            labelers, one per row.
        honest: fitted to the pool.
    """
    found = np.asarray(agreements, dtype=float)
    if not found.size:
        return np.ones_like(found)
    this_way = honest.ways(found)
    ratio = (1 - this_way) / this_way
    logs = np.cumsum(np.log(1 - SHARES + SHARES * ratio[..., None]), axis=-2)
    return np.asarray(np.exp(np.clip(logs, -700, 700)).mean(axis=-1))


def bar(
    agreements: Sequence[float], honest: Honest, *, window: int = WINDOW, simulated: int = SIMULATED, seed: int = 0
) -> float:
    """Return the odds that all but `FALSE_FLAGS` of honest labelers stay below throughout a window.

    Simulates them: sizes of ``d`` drawn from the pool, each way round with its honest chance.
    """
    rng = np.random.default_rng(seed)
    sizes = rng.choice(np.abs(np.asarray(agreements, dtype=float)), size=(simulated, window))
    signs = np.where(rng.random(sizes.shape) < honest.ways(sizes), 1.0, -1.0)
    return float(np.quantile(evidence(sizes * signs, honest).max(axis=1), 1 - FALSE_FLAGS))


def judge(agreements: Mapping[str, Sequence[float]], *, window: int = WINDOW) -> dict[str, Verdict]:
    """Return what each labeler's latest labels say of them.

    Args:
        agreements: labeler -> ``d`` of each label that others' opinions exist for, oldest first.
        window: labels of a person that are looked at, the latest ones.
    """
    found = {}
    for name, mine in agreements.items():
        pool = [each for other, theirs in agreements.items() if other != name for each in theirs]
        honest = fit(pool)
        if honest is None or not mine:
            continue
        limit = bar(pool, honest, window=window)
        odds = evidence(mine[-window:], honest)
        over = np.flatnonzero(odds >= limit)
        found[name] = Verdict(float(odds.max()), limit, int(over[0]) + 1 if len(over) else None)
    return found
