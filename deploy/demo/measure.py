"""What the demonstration measures: gold taste, agreement, win rates. Pure functions of texts and labels.

The gold taste is known here because the sandbox made the world; nothing of it ever reaches serving, workers or trainer.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from feedback.records import Label
from sandbox.gold import Gold, judge
from sandbox.labelers import View
from sandbox.labelers import agreement as alike
from sandbox.world import read_prompt

RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """One completion of a held-out prompt."""

    prompt: str
    text: str
    finished: bool
    token_ids: list[int] = field(default_factory=list)


def judged(completions: Sequence[Sampled]) -> list[Gold]:
    """Return the gold judgment of every completion."""
    return [judge(each.prompt, each.text, each.finished) for each in completions]


def interval(values: Sequence[float], seed: int = 0) -> dict[str, float]:
    """Return mean and 95 % bootstrap interval of per-prompt values: ``{mean, low, high, n}``."""
    rng = random.Random(seed)
    count = len(values)
    if not count:
        return {"mean": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    means = sorted(fmean(rng.choices(values, k=count)) for _ in range(RESAMPLES))
    low, high = means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES) - 1]
    return {"mean": round(fmean(values), 4), "low": round(low, 4), "high": round(high, 4), "n": count}


def win_rate(own: Sequence[Gold], other: Sequence[Gold]) -> dict[str, float]:
    """Return how often ``own`` is preferred to ``other`` on the same prompts under gold taste, ties half."""
    wins = [1.0 if a.score > b.score else 0.5 if a.score == b.score else 0.0 for a, b in zip(own, other, strict=True)]
    return interval(wins)


def hallucination_rate(completions: Sequence[Sampled], golds: Sequence[Gold]) -> float:
    """Return the share of closed-domain prompts whose completion claims what the prompt does not hold."""
    closed = [gold.hallucinated for each, gold in zip(completions, golds, strict=True) if _closed(each.prompt)]
    return round(fmean(closed), 4)


def rude_rate(golds: Sequence[Gold]) -> float:
    """Return the share of rude completions."""
    return round(fmean(gold.rude for gold in golds), 4)


def agreement(labels: Sequence[Label]) -> dict[str, float]:
    """Return how often two labelers order two completions alike, over pairs that both order strictly.

    Args:
        labels: of one group; comparisons with a single label say nothing.

    Returns:
        ``{mean, low, high, n}``; the interval is by bootstrap over comparisons, n counts comparisons.
    """
    by_comparison: dict[str, list[View]] = defaultdict(list)
    for label in labels:
        by_comparison[label.comparison_id].append(View(label.ranking, label.quality, label.flags))
    shared = [views for views in by_comparison.values() if len(views) > 1]
    if not shared:
        return interval([])
    mean, low, high = alike(shared)
    return {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4), "n": len(shared)}


def table(
    policies: Mapping[str, Sequence[Sampled]], sft: str, base: str, is_promoted: Callable[[str], bool]
) -> dict[str, dict[str, object]]:
    """Return gold figures of every policy, by version, with win rates against the SFT policy and the base."""
    golds = {version: judged(completions) for version, completions in policies.items()}
    return {
        version: {
            "gold_score": interval([gold.score for gold in own]),
            "hallucination_rate": hallucination_rate(policies[version], own),
            "rude_rate": rude_rate(own),
            "stops_rate": round(fmean(gold.stops for gold in own), 4),
            **(
                {"win_rate": {"sft": win_rate(own, golds[sft]), "base": win_rate(own, golds[base])}}
                if is_promoted(version)
                else {}
            ),
        }
        for version, own in golds.items()
    }


def _closed(prompt: str) -> bool:
    task = read_prompt(prompt)
    return task is not None and task.closed
