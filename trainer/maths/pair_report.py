"""How well rewards agree with labelers: accuracy, log-loss, calibration, and how much of it is length.

Knows rewards, lengths and judged pairs as plain numbers; does not know models or files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from trainer.maths.calibration import BINS, chance_of, expected_error, reliability

_LEVEL = 0.95
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class JudgedPrompt:
    """One prompt's completions with their rewards and what labelers said.

    Attributes:
        rewards: of each completion; unitless logits.
        lengths: tokens of each completion.
        pairs: (chosen, rejected) positions.
        ties: both positions of every judgement that was a tie.
        finished: whether each completion ended by itself; one that was cut has no score of its end.
    """

    rewards: Sequence[float]
    lengths: Sequence[int]
    pairs: Sequence[tuple[int, int]]
    ties: Sequence[tuple[int, int]] = ()
    finished: Sequence[bool] = ()


def report(prompts: Sequence[JudgedPrompt], *, bootstrap: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Return the figures over all judged pairs of some prompts; only counts when there is no pair.

    Returns:
        ``accuracy`` with ``low`` and ``high`` of its 95 % interval (bootstrap over prompts), ``accuracy_per_prompt``
        (mean of each prompt's accuracy), ``log_loss`` in nats (ln 2 is chance), ``calibration_error`` (expected, over
        ten bins), ``always_longer`` (accuracy of preferring the longer completion), ``labels_favour`` ("longer" or
        "shorter" where the 95 % interval of that excludes chance, else None), ``length_bias`` (how much more often
        rewards prefer the longer completion than labelers did, as a share of pairs) with its 95 % interval,
        ``length_spearman`` (rank correlation of reward and length over all completions) and its mean within prompts,
        ``unfinished_pairs`` (a completion of theirs was cut, so that its reward is that of a beginning) beside
        ``accuracy_finished`` without them, and counts.
    """
    judged = [prompt for prompt in prompts if prompt.pairs]
    counts = {"prompts": len(judged), "pairs": sum(len(prompt.pairs) for prompt in judged)}
    if not judged:
        return counts
    gaps = [gap for prompt in judged for gap in _gaps(prompt.rewards, prompt.pairs)]
    longer = [gap for prompt in judged for gap in _gaps(prompt.lengths, prompt.pairs)]
    hits = [(sum(map(_hit, _gaps(prompt.rewards, prompt.pairs))), len(prompt.pairs)) for prompt in judged]
    low, high = bootstrap_interval(hits, bootstrap, seed)
    longer_hits = [(sum(map(_hit, _gaps(prompt.lengths, prompt.pairs))), len(prompt.pairs)) for prompt in judged]
    longer_low, longer_high = bootstrap_interval(longer_hits, bootstrap, seed)
    excess = [(sum(_excess(prompt)), len(prompt.pairs)) for prompt in judged]
    bias_low, bias_high = bootstrap_interval(excess, bootstrap, seed)
    whole = [hit for prompt in judged for hit in _finished_hits(prompt)]
    correlations = [spearman(prompt.rewards, prompt.lengths) for prompt in judged]
    within = [value for value in correlations if value is not None]
    return counts | {
        "accuracy": sum(map(_hit, gaps)) / len(gaps),
        "low": low,
        "high": high,
        "accuracy_per_prompt": sum(hit / pairs for hit, pairs in hits) / len(hits),
        "log_loss": sum(map(log_loss, gaps)) / len(gaps),
        "calibration_error": calibration_error(gaps),
        "always_longer": sum(map(_hit, longer)) / len(longer),
        "labels_favour": "longer" if longer_low > 0.5 else "shorter" if longer_high < 0.5 else None,
        "length_bias": sum(more for more, _ in excess) / len(gaps),
        "length_bias_low": bias_low,
        "length_bias_high": bias_high,
        "length_spearman": spearman(
            [reward for prompt in judged for reward in prompt.rewards],
            [length for prompt in judged for length in prompt.lengths],
        ),
        "length_spearman_within_prompts": sum(within) / len(within) if within else None,
        "unfinished_pairs": len(gaps) - len(whole),
        "accuracy_finished": sum(whole) / len(whole) if whole else None,
    }


def by_key(
    prompts: Sequence[Item], keys: Sequence[str | None], make: Callable[[Sequence[Item]], dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return ``make`` of the prompts that share each key; prompts without a key are left out."""
    names = sorted({key for key in keys if key is not None})
    return {name: make([prompt for prompt, key in zip(prompts, keys, strict=True) if key == name]) for name in names}


def log_loss(gap: float) -> float:
    """Return -log sigmoid(gap) in nats, finite for any finite gap."""
    return math.log1p(math.exp(-abs(gap))) + max(-gap, 0.0)


def calibration_error(gaps: Sequence[float], bins: int = BINS) -> float:
    """Return the expected calibration error of the model's confidence in its own choice.

    Args:
        gaps: reward of the chosen completion minus that of the rejected one.
        bins: equal bins of the confidence, which lies between 0.5 and 1.

    Returns:
        Mean over pairs of |accuracy - mean confidence| of the pair's bin, in [0, 1].

    Source: Guo et al. 2017, arXiv:1706.04599, eq. 5, with the confidence sigmoid(|gap|).
    """
    return expected_error(reliability([chance_of(gap) for gap in gaps], bins))


def tie_calibration(prompts: Sequence[JudgedPrompt], share: Callable[[float], float]) -> dict[str, Any]:
    """Return how the predicted share of ties compares with the observed one, over all judgements.

    Args:
        prompts: with ties and strict judgements.
        share: gap -> predicted probability of a tie; symmetric.

    Returns:
        ``judgements``, ``predicted`` and ``observed`` shares, ``log_loss`` of tie or not in nats beside that of the
        observed share alone (``log_loss_of_share``), and ``calibration_error``: mean over judgements of |observed -
        predicted| in ten bins of the same number of judgements, by predicted share. Only the count without judgements.
    """
    cells = [
        (share(gap), float(tied))
        for prompt in prompts
        for tied, said in ((False, prompt.pairs), (True, prompt.ties))
        for gap in _gaps(prompt.rewards, said)
    ]
    if not cells:
        return {"judgements": 0}
    cells.sort()
    size = -(-len(cells) // BINS)
    bins = [cells[start : start + size] for start in range(0, len(cells), size)]
    predicted, observed = (sum(each) / len(cells) for each in zip(*cells, strict=True))
    return {
        "judgements": len(cells),
        "predicted": predicted,
        "observed": observed,
        "log_loss": sum(_surprise(chance, tied) for chance, tied in cells) / len(cells),
        "log_loss_of_share": sum(_surprise(observed, tied) for _, tied in cells) / len(cells),
        "calibration_error": sum(abs(sum(chance - tied for chance, tied in each)) for each in bins) / len(cells),
    }


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation, equal values sharing their mean rank; None where one side is constant."""
    ranks_first, ranks_second = _ranks(first), _ranks(second)
    mean = (len(first) + 1) / 2
    covariance = sum((a - mean) * (b - mean) for a, b in zip(ranks_first, ranks_second, strict=True))
    spread = sum((a - mean) ** 2 for a in ranks_first) * sum((b - mean) ** 2 for b in ranks_second)
    return covariance / math.sqrt(spread) if spread > 0 else None


def bootstrap_interval(hits: Sequence[tuple[float, int]], resamples: int, seed: int) -> tuple[float, float]:
    """Return the 95 % percentile interval of total hits over total pairs, resampling prompts.

    Args:
        hits: (pairs ranked rightly, pairs) of each prompt.
        resamples: how many.
        seed: of the resampling.
    """
    generator = torch.Generator().manual_seed(seed)
    table = torch.tensor(hits, dtype=torch.float64)
    sums = torch.stack(
        [table[torch.randint(len(hits), (len(hits),), generator=generator)].sum(dim=0) for _ in range(resamples)]
    )
    edges = torch.tensor([(1.0 - _LEVEL) / 2, (1.0 + _LEVEL) / 2], dtype=torch.float64)
    low, high = torch.quantile(sums[:, 0] / sums[:, 1], edges).tolist()
    return low, high


def _gaps(values: Sequence[float], pairs: Sequence[tuple[int, int]]) -> list[float]:
    return [values[chosen] - values[rejected] for chosen, rejected in pairs]


def _excess(prompt: JudgedPrompt) -> list[float]:
    """Of every pair: 1 where the rewards prefer the longer completion and labelers the shorter, -1 the other way."""
    longer = _gaps(prompt.lengths, prompt.pairs)
    gaps = _gaps(prompt.rewards, prompt.pairs)
    return [_hit(gap if more > 0 else -gap) - _hit(more) for gap, more in zip(gaps, longer, strict=True) if more]


def _finished_hits(prompt: JudgedPrompt) -> list[float]:
    finished = prompt.finished or [True] * len(prompt.rewards)
    whole = [pair for pair in prompt.pairs if all(finished[place] for place in pair)]
    return [_hit(gap) for gap in _gaps(prompt.rewards, whole)]


def _surprise(chance: float, happened: float) -> float:
    """-log of the probability of what happened, in nats; no more than 50, so that one certain error stays finite."""
    return min(-math.log(max(chance if happened else 1.0 - chance, 1e-300)), 50.0)


def _hit(gap: float) -> float:
    """1 for the right order, one half for no order at all."""
    return 1.0 if gap > 0 else 0.5 if gap == 0 else 0.0


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=lambda index: values[index])
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        stop = start
        while stop + 1 < len(order) and values[order[stop + 1]] == values[order[start]]:
            stop += 1
        for index in order[start : stop + 1]:
            ranks[index] = (start + stop) / 2 + 1
        start = stop + 1
    return ranks
