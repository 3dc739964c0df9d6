"""How far probabilities can be believed, and how well a doubt foretells an error: pure functions of numbers.

Knows probabilities and outcomes of pairs; does not know rewards' origin, models or files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypedDict

BINS = 10


class Bin(TypedDict):
    """Pairs of about the same confidence: how many, their mean confidence in [0.5, 1], and the share ranked rightly."""

    pairs: int
    confidence: float
    accuracy: float


def chance_of(gap: float) -> float:
    """Return sigmoid(gap): the probability of Bradley and Terry (1952) that the completion ahead by it is preferred."""
    return 1.0 / (1.0 + math.exp(-max(-700.0, min(700.0, gap))))


def reliability(chances: Sequence[float], bins: int = BINS) -> list[Bin]:
    """Return a reliability table, its empty bins left out.

    Args:
        chances: of each judged pair, the probability that the model gave to what the labeler said; 0.5 is no choice and
            counts as half right.
        bins: equal bins of the confidence in the model's own choice.
    """
    cells: list[list[tuple[float, float]]] = [[] for _ in range(bins)]
    for chance in chances:
        confidence = max(chance, 1.0 - chance)
        right = 1.0 if chance > 0.5 else 0.5 if chance == 0.5 else 0.0
        cells[min(int((confidence - 0.5) * 2 * bins), bins - 1)].append((confidence, right))
    columns = [[sum(column) / len(cell) for column in zip(*cell, strict=True)] for cell in cells if cell]
    sizes = [len(cell) for cell in cells if cell]
    return [{"pairs": n, "confidence": c, "accuracy": a} for n, (c, a) in zip(sizes, columns, strict=True)]


def expected_error(table: Sequence[Bin]) -> float:
    """Return the expected calibration error: mean over pairs of |accuracy - mean confidence| of the pair's bin.

    Source: Guo et al. 2017, arXiv:1706.04599, eq. 5.
    """
    pairs = sum(each["pairs"] for each in table)
    return sum(each["pairs"] * abs(each["accuracy"] - each["confidence"]) for each in table) / pairs


def separation(doubts: Sequence[float], wrong: Sequence[bool]) -> float | None:
    """Return how often a wrong item has more doubt than a right one, equal doubts as half (area under the ROC curve).

    Args:
        doubts: any figure that should be larger where the model errs.
        wrong: whether it did.

    Returns:
        0.5 where doubt says nothing, 1 where it says all; None where all or none are wrong.
    """
    order = sorted(zip(doubts, wrong, strict=True))
    errors = sum(wrong)
    if not 0 < errors < len(order):
        return None
    above, start = 0.0, 0
    rights_below = 0
    while start < len(order):
        stop = start
        while stop < len(order) and order[stop][0] == order[start][0]:
            stop += 1
        errors_here = sum(is_wrong for _, is_wrong in order[start:stop])
        rights_here = stop - start - errors_here
        above += errors_here * (rights_below + rights_here / 2)
        rights_below += rights_here
        start = stop
    return above / (errors * (len(order) - errors))


def by_quantile(doubts: Sequence[float], rights: Sequence[float], parts: int = 4) -> list[float]:
    """Return the mean of ``rights`` in each part of the items, those with the least doubt first; parts differ by one.

    Raises:
        ValueError: fewer items than parts.
    """
    if len(doubts) < parts:
        raise ValueError(f"{len(doubts)} items do not fill {parts} parts")
    ordered = [right for _, right in sorted(zip(doubts, rights, strict=True), key=lambda each: each[0])]
    edges = [round(part * len(ordered) / parts) for part in range(parts + 1)]
    return [sum(ordered[a:b]) / (b - a) for a, b in pairwise(edges)]
