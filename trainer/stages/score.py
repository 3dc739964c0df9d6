"""Stage ``score``: agreement of a reward model, or of several as one, with ranked completions, set by set.

Knows preference files and reward models; does not know training.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import stdev
from typing import Any

from trainer.data.reading import BadRows, Counts, Limits, PreferenceGroup, read_preferences
from trainer.maths.ensemble_report import average, report_members, scaled
from trainer.maths.pair_report import JudgedPrompt, by_key, report
from trainer.models.ensemble import RewardEnsemble, load_reward, members_of
from trainer.models.normalisation import score_groups
from trainer.models.policies import load_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.running.run import open_run
from trainer.settings.stages import ScoreSettings

SCORES_FILE = "scores.jsonl"


def run(settings: ScoreSettings) -> dict[str, Any]:
    """Score every completion, write ``metrics.json`` and ``scores.jsonl``, and return the metrics.

    ``scores.jsonl`` has one line a row of the files, in order: ``id``, ``set``, the ``rewards`` of its completions and,
    of an ensemble, the ``spreads`` between its members.

    Raises:
        WhetstoneError: bad settings or data.
    """
    with open_run("score", settings, [*settings.preferences, settings.reward_model]) as run:
        tokenizer = load_tokenizer(settings.reward_model)
        model = load_reward(settings.reward_model, device=run.device)
        limits = Limits(prompt_tokens=settings.max_prompt_tokens, completion_tokens=settings.max_completion_tokens)
        limits = limits.within(model.context_tokens)
        counts = Counts(bad=BadRows.of(settings, run.own_directory))
        groups = read_preferences(settings.preferences, tokenizer, limits, counts)
        members = judge_members(model, groups, int(tokenizer.pad_token_id), settings.micro_batch_tokens)
        prompts = average(members)
        with (run.directory / SCORES_FILE).open("w") as lines:
            for group, prompt, own in zip(groups, prompts, zip(*members, strict=True), strict=True):
                row = {"id": group.id, "set": group.source, "rewards": list(prompt.rewards)}
                if len(own) > 1:
                    row["spreads"] = [stdev(rewards) for rewards in zip(*(each.rewards for each in own), strict=True)]
                lines.write(json.dumps(row) + "\n")

        def figures(some: Sequence[JudgedPrompt]) -> dict[str, Any]:
            return report(some, bootstrap=settings.bootstrap, seed=settings.seed)

        together = report_members(members, bootstrap=1, seed=settings.seed) if len(members) > 1 else {}
        return run.finish(
            {
                "all": figures(prompts),
                "ensemble": {name: value for name, value in together.items() if name != "mean"} or None,
                "by_set": by_key(prompts, [group.source for group in groups], figures),
                "by_labeler_group": by_key(prompts, [group.labeler_group for group in groups], figures),
                "by_split": by_key(prompts, [group.split for group in groups], figures),
                "ties": sum(len(group.ties) for group in groups),
                "data": counts.as_metrics(),
            }
        )


def judge_members(
    model: ScalarModel | RewardEnsemble, groups: Sequence[PreferenceGroup], pad_id: int, micro_batch_tokens: int
) -> list[list[JudgedPrompt]]:
    """Return the groups once for each member, with its rewards on the common scale; a single model is alone."""
    if isinstance(model, ScalarModel):
        return [judge(model, groups, pad_id, micro_batch_tokens)]
    members = zip(members_of(model), model.factors_M.tolist(), strict=True)
    return [scaled(judge(member, groups, pad_id, micro_batch_tokens), factor) for member, factor in members]


def judge(
    model: ScalarModel | RewardEnsemble, groups: Sequence[PreferenceGroup], pad_id: int, micro_batch_tokens: int
) -> list[JudgedPrompt]:
    """Return each group with the rewards of its completions."""
    prompts, completions = [group.prompt_ids for group in groups], [group.completions for group in groups]
    rewards = iter(score_groups(model, prompts, completions, pad_id, micro_batch_tokens))
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
