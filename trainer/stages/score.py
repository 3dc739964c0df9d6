"""Stage ``score``: a reward model's agreement with ranked completions, set by set.

Knows preference files and reward models; does not know training.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trainer.data.reading import BadRows, Counts, Limits, PreferenceGroup, read_preferences
from trainer.maths.pair_report import JudgedPrompt, by_key, report
from trainer.models.normalisation import score_sequences
from trainer.models.policies import load_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.running.run import open_run
from trainer.settings.stages import ScoreSettings

SCORES_FILE = "scores.jsonl"


def run(settings: ScoreSettings) -> dict[str, Any]:
    """Score every completion, write ``metrics.json`` and ``scores.jsonl``, and return the metrics.

    ``scores.jsonl`` has one line a row of the files, in order: ``id``, ``set`` and the ``rewards`` of its completions.

    Raises:
        WhetstoneError: bad settings or data.
    """
    with open_run("score", settings, [*settings.preferences, settings.reward_model]) as run:
        tokenizer = load_tokenizer(settings.reward_model)
        model = ScalarModel.load(settings.reward_model, device=run.device)
        limits = Limits(prompt_tokens=settings.max_prompt_tokens, completion_tokens=settings.max_completion_tokens)
        limits = limits.within(model.context_tokens)
        counts = Counts(bad=BadRows.of(settings, run.own_directory))
        groups = read_preferences(settings.preferences, tokenizer, limits, counts)
        prompts = judge(model, groups, int(tokenizer.pad_token_id), settings.micro_batch_tokens)
        with (run.directory / SCORES_FILE).open("w") as lines:
            for group, prompt in zip(groups, prompts, strict=True):
                row = {"id": group.id, "set": group.source, "rewards": list(prompt.rewards)}
                lines.write(json.dumps(row) + "\n")

        def figures(some: Sequence[JudgedPrompt]) -> dict[str, Any]:
            return report(some, bootstrap=settings.bootstrap, seed=settings.seed)

        return run.finish(
            {
                "all": figures(prompts),
                "by_set": by_key(prompts, [group.source for group in groups], figures),
                "by_labeler_group": by_key(prompts, [group.labeler_group for group in groups], figures),
                "by_split": by_key(prompts, [group.split for group in groups], figures),
                "ties": sum(len(group.ties) for group in groups),
                "data": counts.as_metrics(),
            }
        )


def judge(
    model: ScalarModel, groups: Sequence[PreferenceGroup], pad_id: int, micro_batch_tokens: int
) -> list[JudgedPrompt]:
    """Return each group with the rewards of its completions."""
    sequences = [group.prompt_ids + completion for group in groups for completion in group.completions]
    rewards = iter(score_sequences(model, sequences, pad_id, micro_batch_tokens))
    return [
        JudgedPrompt(
            rewards=[next(rewards) for _ in group.completions],
            lengths=[len(completion) for completion in group.completions],
            pairs=group.pairs,
            ties=group.ties,
            finished=group.finished,
        )
        for group in groups
    ]
