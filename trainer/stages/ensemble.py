"""Stage ``ensemble``: several reward models of the same comparisons, brought to one scale and reported together.

Each member is a run of stage ``reward`` of its own, with its own first head, order and bootstrap sample; they share the
trunk that they start from, and nothing after that. Knows which runs there are and what is measured of them; training is
`trainer.stages.reward`'s, the figures are `trainer.maths.ensemble_report`'s, the directory `trainer.models.ensemble`'s.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from feedback.errors import ConfigError, RunFinished
from trainer.data.partition import EXCLUDED
from trainer.data.reading import Counts, Limits, PreferenceGroup
from trainer.data.rows import BadRows
from trainer.data.tokens import save_tokenizer
from trainer.maths.ensemble_report import deviation_within, report_members, scaled
from trainer.maths.pair_report import JudgedPrompt, by_key
from trainer.models.ensemble import MEMBERS, common_scale, is_ensemble, member_directories, write_members
from trainer.models.policies import load_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.running.progress import Progress
from trainer.running.run import open_run
from trainer.settings.stages import EnsembleSettings, RewardSettings
from trainer.stages import reward
from trainer.stages.score import judge

_SCALED_ON = 512
"""Training prompts, drawn by seed, whose completions say on what scale a member scores; 2 % error of a deviation."""
_SEEDS_APART = 1_000
"""Seeds of an ensemble's members, so that ensembles of neighbouring seeds have none in common."""


def run(settings: EnsembleSettings) -> dict[str, Any]:
    """Train the members that are not trained yet, write the ensemble, and return the metrics.

    A run that was interrupted goes on with the member that it was at; finished ones are not made again.

    Raises:
        WhetstoneError: bad settings or data, or a loss diverged.
    """
    source = reward.source_of(settings)
    with open_run("ensemble", settings, [*settings.preferences, *settings.demonstrations, source]) as run:
        places = [run.directory / MEMBERS / str(number) for number in range(settings.members)]
        origins = _origins(settings)
        trained = []
        with Progress("ensemble", settings.members, run.own_directory, stream=run.stream) as progress:
            for number, (place, origin) in enumerate(zip(places, origins, strict=True)):
                trained.append(_train(settings, number, place, origin))
                accuracy = trained[-1]["accuracy"]
                progress.update(number + 1, {} if accuracy is None else {"accuracy": accuracy})
        tokenizer = load_tokenizer(places[0])
        limits = Limits(prompt_tokens=settings.max_prompt_tokens, completion_tokens=settings.max_completion_tokens)
        counts = Counts(bad=BadRows.of(settings, run.own_directory))
        limits = limits.within(ScalarModel.load(places[0]).context_tokens)
        parts = reward.read_parts(settings, tokenizer, limits, counts)
        chosen = random.Random(settings.seed).sample(parts.train, min(_SCALED_ON, len(parts.train)))
        naming = reward.naming_of(settings, tokenizer, limits, parts.train)
        asked = [naming(groups, 0.0) for groups in (chosen, parts.valid)]
        pad_id = int(tokenizer.pad_token_id)
        judged = [_judged(place, asked, pad_id, settings, run.device) for place in places]
        factors = common_scale([deviation_within(train) for train, _ in judged])
        if run.world.main:
            write_members(run.directory, places, factors)
            save_tokenizer(tokenizer, run.directory)
        members = [scaled(valid, factor) for factor, (_, valid) in zip(factors, judged, strict=True)]
        return run.finish(
            {
                "members": settings.members,
                "bootstrap": settings.bootstrap,
                "factors": factors,
                "groups": [each["groups"] for each in trained],
                "pairs": [each["pairs"] for each in trained],
                "train_cpu_s": round(sum(each["train_cpu_s"] for each in trained), 3),
                "data": counts.as_metrics(),
            }
            | held_out_report(members, parts.valid, bootstrap=1000, seed=settings.seed)
        )


def held_out_report(
    members: Sequence[Sequence[JudgedPrompt]], groups: Sequence[PreferenceGroup], *, bootstrap: int, seed: int
) -> dict[str, Any]:
    """Return the figures of the mean as stage ``reward`` has those of one model, and under ``ensemble`` what is new.

    Args:
        members: each member's rewards of the groups, on one scale.
        groups: what was judged, in the same order.
        bootstrap: resamples behind intervals.
        seed: of the resampling.
    """
    ours = [number for number, group in enumerate(groups) if group.split != EXCLUDED]
    found = report_members([[prompts[n] for n in ours] for prompts in members], bootstrap=bootstrap, seed=seed)
    held_out = found.pop("mean")

    def of_mean(places: Sequence[int]) -> dict[str, Any]:
        chosen = [[prompts[n] for n in places] for prompts in members]
        return dict(report_members(chosen, bootstrap=bootstrap, seed=seed)["mean"])

    everywhere = list(range(len(groups)))
    return {
        "accuracy": held_out.get("accuracy"),
        "held_out": held_out,
        "ensemble": found,
        "by_set": by_key(everywhere, [group.source for group in groups], of_mean),
        "by_labeler_group": by_key(everywhere, [group.labeler_group for group in groups], of_mean),
        "by_split": by_key(everywhere, [group.split or "valid" for group in groups], of_mean),
    }


def _origins(settings: EnsembleSettings) -> list[Path | None]:
    """Return the reward model that each member goes on with, None where they begin anew.

    Raises:
        ConfigError: the ensemble to go on with has too few members.
    """
    if settings.init_reward is None or not is_ensemble(settings.init_reward):
        return [settings.init_reward] * settings.members
    found = member_directories(settings.init_reward)
    if len(found) < settings.members:
        raise ConfigError(f"--members {settings.members}: {settings.init_reward} has {len(found)} to go on with")
    return list(found[: settings.members])


def _train(settings: EnsembleSettings, number: int, place: Path, origin: Path | None) -> dict[str, Any]:
    """Train one member, unless that is done, and return its metrics."""
    given = {name: getattr(settings, name) for name in RewardSettings.model_fields}
    given |= {"output": place, "seed": settings.seed * _SEEDS_APART + number, "init_reward": origin}
    try:
        return reward.run(RewardSettings.model_validate(given))
    except RunFinished as found:
        return found.metrics


def _judged(
    place: Path,
    parts: Sequence[Sequence[PreferenceGroup]],
    pad_id: int,
    settings: EnsembleSettings,
    device: torch.device,
) -> list[list[JudgedPrompt]]:
    """Return each part with one member's rewards."""
    model = ScalarModel.load(place, device=device)
    return [judge(model, groups, pad_id, settings.micro_batch_tokens) for groups in parts]
