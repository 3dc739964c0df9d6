"""How a policy's scores go with the KL it has spent: the curve of Gao et al., and where a held-out score turns.

Pure functions of numbers: know neither models nor what scored. Throughout, d is the square root of the KL in nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, median

import torch

SMOOTHED_OVER = 5
"""Points that are averaged before two of them are compared."""
NOISES = 4.0
"""A fall counts when it is larger than this many standard errors; the best of many averages is high by chance."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Score = ``start`` + d (``alpha`` - ``beta`` ln d), the form for reinforcement learning.

    Attributes:
        start: score at d = 0, in reward units.
        alpha: reward units per unit of d.
        beta: reward units per unit of d; above 0 the curve has a peak.
        error: root mean square of what the fit misses, in reward units.
        peak_kl_nats: KL at which the curve is highest, None where it has no peak.

    Source: Gao, Schulman and Hilton 2022, arXiv:2210.10760, section 3.1; with a start, because scores are not 0 there.
    """

    start: float
    alpha: float
    beta: float
    error: float
    peak_kl_nats: float | None


def fit(kl_nats: Sequence[float], scores: Sequence[float]) -> Curve | None:
    """Least squares of the curve; None where fewer than four different KL above 0 leave it undetermined.

    Args:
        kl_nats: mean KL of an episode at each point, in nats; points whose estimate is negative count as 0.
        scores: mean score at each point, in reward units.

    Raises:
        ValueError: lists of different lengths.
    """
    if len(kl_nats) != len(scores):
        raise ValueError(f"a score for each KL is needed: {len(kl_nats)} and {len(scores)}")
    d = [math.sqrt(max(kl, 0.0)) for kl in kl_nats]
    if len({each for each in d if each > 0}) < 4:
        return None
    rows = torch.tensor([[1.0, x, -x * math.log(x) if x > 0 else 0.0] for x in d], dtype=torch.float64)
    target = torch.tensor(list(scores), dtype=torch.float64)
    found = torch.linalg.lstsq(rows, target[:, None]).solution[:, 0]
    start, alpha, beta = found.tolist()
    error = (rows @ found - target).square().mean().sqrt().item()
    exponent = 2 * (alpha / beta - 1) if beta > 0 else math.inf  # d* = exp(alpha / beta - 1), and the KL is its square
    peak = math.exp(exponent) if exponent < 700 else None
    return Curve(start=start, alpha=alpha, beta=beta, error=error, peak_kl_nats=peak)


@dataclass(frozen=True, kw_only=True)
class Turnover:
    """A held-out score that has fallen from its peak.

    Attributes:
        peak_at: number of the point around which the averaged score was highest.
        fall: what was lost since, as a share of what had been gained by then; above 1 where it is below the start.
    """

    peak_at: int
    fall: float


def turnover(held_out: Sequence[float]) -> Turnover | None:
    """Find the fall of the latest scores from the best ones before them; None while it may be noise.

    Averages over ``SMOOTHED_OVER`` points are compared. The noise of a point is estimated from the differences of
    neighbours, which a slow trend hardly touches; the gain counts for at least ``NOISES`` of its standard errors, so
    that a score that never rose and then falls a little is not a total loss.

    Args:
        held_out: score of a model that nothing is trained on, at each point in the order of training.
    """
    width = SMOOTHED_OVER
    if len(held_out) < 3 * width:
        return None
    averages = [mean(held_out[start : start + width]) for start in range(len(held_out) - width + 1)]
    jumps = [abs(b - a) for a, b in pairwise(held_out)]
    least = NOISES * median(jumps) / (0.6745 * math.sqrt(2.0)) / math.sqrt(width)
    best = max(range(len(averages)), key=averages.__getitem__)
    lost = averages[best] - averages[-1]
    if lost <= least * math.sqrt(2.0) or lost == 0:
        return None
    gained = max(averages[best] - averages[0], least)
    return Turnover(peak_at=best + width // 2, fall=lost / gained if gained > 0 else math.inf)
