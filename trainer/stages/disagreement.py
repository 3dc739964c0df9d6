"""Stage ``disagree``: on which comparisons nobody ranked yet reward models differ most.

A comparison whose order two successive reward models see differently, or on which a single one is undecided, teaches
more than one on which they agree. Knows preference files without judgements and reward models; knows no ledger.
"""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from trainer.data.reading import BadRows, Counts, Limits, read_preferences
from trainer.models.ensemble import load_reward
from trainer.models.policies import load_tokenizer
from trainer.running.checkpoint import write_json
from trainer.running.layout import FIGURES_FILE
from trainer.running.run import open_run
from trainer.settings.stages import DisagreeSettings
from trainer.stages.score import judge

MOST_MODELS = 2


def run(settings: DisagreeSettings) -> dict[str, Any]:
    """Score every completion with each model, write the figure of each comparison, and return the metrics.

    Raises:
        WhetstoneError: bad settings or data.
    """
    with open_run("disagree", settings, [*settings.comparisons, *settings.reward_models]) as run:
        scored: list[dict[str, list[float]]] = []
        counts = Counts()
        for path in settings.reward_models[:MOST_MODELS]:
            counts = Counts(bad=BadRows(skip=True))
            scored.append(_rewards(path, settings, counts, run.device))
        figures = {
            id: disagreement([rewards[id] for rewards in scored])
            for id in scored[0]
            if all(id in rewards for rewards in scored)
        }
        figures = {id: figure for id, figure in figures.items() if math.isfinite(figure)}
        write_json(run.directory / FIGURES_FILE, figures)
        return run.finish(
            {
                "models": len(scored),
                "comparisons": len(figures),
                "mean": sum(figures.values()) / len(figures) if figures else None,
                "data": counts.as_metrics(),
            }
        )


def disagreement(rewards: list[list[float]]) -> float:
    """Return in [0, 1] how much reward models disagree about one comparison's pairs of completions.

    With two models: the mean over pairs of ``|sigmoid(d_new) - sigmoid(d_old)|``, where d is the difference of a
    pair's rewards and its sigmoid the probability that the first is preferred (Bradley and Terry 1952). With one: the
    mean entropy of that probability, in bits.

    Args:
        rewards: of each model, the reward of each completion.
    """
    chances = [
        [1 / (1 + math.exp(-max(-60.0, min(60.0, a - b)))) for a, b in combinations(each, 2)] for each in rewards
    ]
    if len(chances) == 1:
        figures = [_entropy_bits(chance) for chance in chances[0]]
    else:
        figures = [abs(new - old) for new, old in zip(chances[0], chances[1], strict=True)]
    return round(sum(figures) / len(figures), 6)


def _entropy_bits(chance: float) -> float:
    return -sum(p * math.log2(p) for p in (chance, 1 - chance) if p > 0)


def _rewards(path: Path, settings: DisagreeSettings, counts: Counts, device: torch.device) -> dict[str, list[float]]:
    """Return what one model gives each completion, by comparison; a prompt that is too long for it has no entry."""
    tokenizer = load_tokenizer(path)
    model = load_reward(path, device=device)
    limits = Limits(prompt_tokens=settings.max_prompt_tokens, completion_tokens=settings.max_completion_tokens)
    groups = read_preferences(settings.comparisons, tokenizer, limits.within(model.context_tokens), counts)
    judged = judge(model, groups, int(tokenizer.pad_token_id), settings.micro_batch_tokens)
    return {group.id: list(each.rewards) for group, each in zip(groups, judged, strict=True)}
