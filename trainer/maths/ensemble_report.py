"""What several reward models say together: accuracy and calibration of their mean, and what their spread foretells.

Knows rewards of members, on one scale, and judged pairs as plain numbers; does not know models or files.

Letters: M members, P judged pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from trainer.maths.calibration import by_quantile, chance_of, expected_error, reliability, separation
from trainer.maths.pair_report import JudgedPrompt, report

_PARTS = 4


def average(members: Sequence[Sequence[JudgedPrompt]]) -> list[JudgedPrompt]:
    """Return the prompts with the mean of the members' rewards.

    Args:
        members: the same prompts with each member's rewards.
    """
    return [
        replace(prompts[0], rewards=[fmean(each) for each in zip(*(prompt.rewards for prompt in prompts), strict=True)])
        for prompts in zip(*members, strict=True)
    ]


def scaled(prompts: Sequence[JudgedPrompt], factor: float) -> list[JudgedPrompt]:
    """Return the prompts with their rewards times a factor."""
    return [replace(prompt, rewards=[factor * reward for reward in prompt.rewards]) for prompt in prompts]


def deviation_within(prompts: Sequence[JudgedPrompt]) -> float:
    """Return the root mean square by which a completion's reward differs from the mean of its prompt's completions."""
    squares = [
        (reward - mean) ** 2 for prompt in prompts for mean in [fmean(prompt.rewards)] for reward in prompt.rewards
    ]
    return fmean(squares) ** 0.5 if squares else 0.0


def report_members(
    members: Sequence[Sequence[JudgedPrompt]], *, bootstrap: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Return the figures of an ensemble over all judged pairs of some prompts.

    Args:
        members: the same prompts with each member's rewards, on one scale.
        bootstrap: resamples of prompts behind intervals.
        seed: of the resampling.

    Returns:
        ``mean`` (`pair_report.report` of the mean reward), ``members`` (accuracy, log-loss and calibration error of
        each), ``reliability`` (table of the mean's confidence), ``mixture`` (log-loss aside, the same of the members'
        mean probability, which is less certain where they disagree: calibration error and table) and ``spread`` (see
        ``foretold``). Only ``mean`` with its counts when there is no pair.
    """
    together = average(members)
    found: dict[str, Any] = {"mean": report(together, bootstrap=bootstrap, seed=seed)}
    if not found["mean"]["pairs"]:
        return found
    gaps_MP = [_gaps(prompts) for prompts in members]
    chances_P = [fmean(map(chance_of, gaps)) for gaps in zip(*gaps_MP, strict=True)]
    mixture = reliability(chances_P)
    kept = ("accuracy", "log_loss", "calibration_error")
    alone = [report(prompts, bootstrap=1, seed=seed) for prompts in members]
    return found | {
        "members": [{name: each[name] for name in kept} for each in alone],
        "reliability": reliability([chance_of(gap) for gap in _gaps(together)]),
        "mixture": {"calibration_error": expected_error(mixture), "reliability": mixture},
        "spread": foretold(gaps_MP),
    }


def foretold(gaps_MP: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return how well the members' disagreement about a pair foretells that their mean ranks it wrongly.

    Args:
        gaps_MP: each member's reward of the chosen completion minus that of the rejected one.

    Returns:
        ``mean`` deviation of the gap between members, ``accuracy_by_quarter`` of the pairs by that deviation, least
        first, ``separation`` of wrong from right pairs by it (`calibration.separation`), beside that by the mean gap
        alone (``separation_by_gap``: a small one is doubt without any ensemble) and by the deviation over the size of
        the mean gap (``separation_by_ratio``).
    """
    gaps_PM = list(zip(*gaps_MP, strict=True))
    means = [fmean(gaps) for gaps in gaps_PM]
    spreads = [stdev(gaps) for gaps in gaps_PM]
    wrong = [mean < 0 for mean in means]
    rights = [1.0 if mean > 0 else 0.5 if mean == 0 else 0.0 for mean in means]
    return {
        "mean": fmean(spreads),
        "accuracy_by_quarter": by_quantile(spreads, rights, _PARTS) if len(spreads) >= _PARTS else None,
        "separation": separation(spreads, wrong),
        "separation_by_gap": separation([-abs(mean) for mean in means], wrong),
        "separation_by_ratio": separation([s / max(abs(m), 1e-9) for s, m in zip(spreads, means, strict=True)], wrong),
    }


def _gaps(prompts: Sequence[JudgedPrompt]) -> list[float]:
    """Of every judged pair, the reward of the chosen completion minus that of the rejected one."""
    return [prompt.rewards[a] - prompt.rewards[b] for prompt in prompts for a, b in prompt.pairs]
