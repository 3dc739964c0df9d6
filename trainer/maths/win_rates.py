"""Win rates with intervals, and figures that give reward hacking away: pure functions of scores and token lists.

Knows outcomes, resampling and n-grams; does not know models or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch


class WinRate(TypedDict):
    """Share of prompts won, ties as half, with its 95 % interval; ``n`` prompts."""

    mean: float
    low: float
    high: float
    n: int


def win_rate(scores: Sequence[float], others: Sequence[float], *, resamples: int = 2000, seed: int = 0) -> WinRate:
    """How often the first policy's completion scores higher than the second's on the same prompt.

    Args:
        scores: one score a prompt.
        others: the other policy's, prompt for prompt.
        resamples: bootstrap samples of prompts.
        seed: of the resampling.

    Returns:
        Mean and percentile interval over prompts, in [0, 1]; 0.5 means no difference.

    Raises:
        ValueError: no prompt, or lists of different lengths.
    """
    if not scores or len(scores) != len(others):
        raise ValueError(f"win rate needs as many scores as opponents' scores: {len(scores)} and {len(others)}")
    pairs = zip(scores, others, strict=True)
    outcomes_N = torch.tensor([0.5 if a == b else float(a > b) for a, b in pairs], dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(outcomes_N), (resamples, len(outcomes_N)), generator=generator)
    means = outcomes_N[drawn].mean(1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return {"mean": outcomes_N.mean().item(), "low": low, "high": high, "n": len(outcomes_N)}


def repetition(tokens: Sequence[int], n: int = 3) -> float:
    """Share of a completion's n-grams that occurred in it before, in [0, 1]; 0 when it is too short to repeat."""
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0


def distinct(completions: Sequence[Sequence[int]], n: int = 2) -> float:
    """Share of all completions' n-grams that are different ones, in (0, 1]; 1 when there is none."""
    grams = [tuple(tokens[i : i + n]) for tokens in completions for i in range(len(tokens) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; 0 when either list is constant.

    Raises:
        ValueError: lists of different lengths.
    """
    if len(first) != len(second):
        raise ValueError(f"rank correlation needs lists of one length: {len(first)} and {len(second)}")
    a, b = (_ranks(torch.tensor(list(v), dtype=torch.float64)) for v in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = (a.square().sum() * b.square().sum()).sqrt()
    return (a @ b / scale).item() if len(a) and scale > 0 else 0.0


def _ranks(values: torch.Tensor) -> torch.Tensor:
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    mean_rank: torch.Tensor = (ends - (counts - 1) / 2)[inverse]
    return mean_rank
