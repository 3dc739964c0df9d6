"""Stage ``reward``: a reward model from ranked completions, all pairs of a prompt in one batch element.

Knows what is trained on and reported; the gradient is in `trainer.stages.kwise`, the figures in
`trainer.maths.pair_report`, the zero point in `trainer.models.normalisation`.

Each completion is run through the trunk once, whatever the number of its pairs, and each prompt once for all of its
completions; each prompt weighs the same whatever its K; ties are dropped, or modelled if asked for; one epoch (Ouyang
et al. 2022, arXiv:2203.02155, section 3.5, eq. 1, C.2). An incremental run goes on with a reward model: one pass over
the comparisons it never saw and a sample of those it did (`trainer.data.replay`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from feedback.errors import ConfigError, DataError
from trainer.data.batches import EpochOrder
from trainer.data.conditioning import named_groups
from trainer.data.partition import EXCLUDED, Partition, exclude, partition
from trainer.data.reading import BadRows, Counts, Limits, PreferenceGroup, by_id, read_demonstrations, read_preferences
from trainer.data.replay import USES_FILE, Selection, Usage, merge_labels, passes, select
from trainer.data.resampling import resample
from trainer.maths.pair_report import JudgedPrompt, by_key, report, tie_calibration
from trainer.models.normalisation import centre
from trainer.models.policies import load_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.models.tie_parameter import TieParameter
from trainer.running.loop import optimize
from trainer.running.optimization import Schedule
from trainer.running.run import open_run
from trainer.running.sharding import pull
from trainer.settings.stages import RewardSettings
from trainer.stages.kwise import KwiseGradient
from trainer.stages.labelers import whose
from trainer.stages.score import judge


def run(settings: RewardSettings) -> dict[str, Any]:
    """Train, set the zero point, save the reward model with its tokenizer and uses, and return the metrics.

    Raises:
        WhetstoneError: bad settings or data, or the loss diverged.
    """
    source = source_of(settings)
    with open_run("reward", settings, [*settings.preferences, *settings.demonstrations, source]) as run:
        tokenizer = load_tokenizer(source)
        model = _model(settings, run.device)
        limits = Limits(prompt_tokens=settings.max_prompt_tokens, completion_tokens=settings.max_completion_tokens)
        limits = limits.within(model.context_tokens)
        counts = Counts(bad=BadRows.of(settings, run.own_directory))
        parts = read_parts(settings, tokenizer, limits, counts)
        usage = _usage(settings)
        chosen = _choose(resample(parts.train, settings.bootstrap, settings.seed), usage, settings)
        demonstrations = _demonstrations(settings, tokenizer, limits, counts.bad)
        pad_id = int(tokenizer.pad_token_id)
        order = EpochOrder(len(chosen.groups), _batch_size(settings), settings.seed)
        tie = _tie(chosen.groups, settings)
        naming = naming_of(settings, tokenizer, limits, parts.train)
        groups = naming(chosen.groups, settings.unnamed_share)
        labelers = whose(groups, settings, run.world)
        gradient = KwiseGradient(model, groups, order, settings, pad_id, run.world, tie, labelers)
        steps = settings.max_steps or settings.epochs * order.batches_per_epoch
        began_s = time.process_time()
        optimize(run, settings, model, gradient, gradient, schedule=_schedule(settings, steps), lr=settings.lr)
        cpu_s = time.process_time() - began_s
        zero_of = demonstrations or [g.prompt_ids + completion for g in groups for completion in g.completions]
        centre(model, zero_of, pad_id, settings.micro_batch_tokens)
        trained, of_labelers = pull(model), {}
        if run.world.main:
            usage.after(passes(chosen.groups, order, steps)).save(run.directory)
            if tie is not None:
                tie.save(run.directory)
            of_labelers = labelers.save(run.directory) if labelers else {}
            trained.save(run.directory, tokenizer)
        return run.finish(
            {
                "steps": steps,
                "train_loss": gradient.last_loss,
                "train_cpu_s": round(cpu_s, 3),
                "train_tokens": sum(
                    times * _tokens(groups[row], gradient.packed) for row, times in order.uses(steps).items()
                ),
                "groups": len(chosen.groups),
                "pairs": sum(len(group.pairs) for group in chosen.groups),
                "ties": sum(len(group.ties) for group in chosen.groups),
                "fresh_groups": chosen.fresh,
                "replayed_groups": len(chosen.groups) - chosen.fresh,
                "exhausted_groups": chosen.exhausted,
                "bias": float(model.bias),
                "zero_point": "demonstrations" if demonstrations else "training completions",
                "leaked_groups_dropped": parts.leaked,
                "limits": {"prompt_tokens": limits.prompt_tokens, "completion_tokens": limits.completion_tokens},
                "data": counts.as_metrics(),
            }
            | of_labelers
            | _held_out_report(model, naming(parts.valid, 0.0), settings, pad_id, tie)
            | _unnamed_report(model, parts.valid, settings, pad_id)
        )


def read_parts(
    settings: RewardSettings, tokenizer: PreTrainedTokenizerBase, limits: Limits, counts: Counts
) -> Partition:
    """Return the comparisons of the run's files: which are trained on, and which are only reported.

    Raises:
        DataError: nothing usable, or nothing to train on, or an excluded labeler who judged nothing.
    """
    rows = by_id(read_preferences(settings.preferences, tokenizer, limits, counts))
    groups = merge_labels(exclude(rows, settings.exclude_labelers))
    return partition(groups, settings.valid_fraction, ties=settings.ties != "drop")


def source_of(settings: RewardSettings) -> Path:
    """Return where the run starts, and refuse what does not go together."""
    source = settings.init_reward or settings.policy
    if source is None or (settings.init_reward and settings.policy):
        raise ConfigError("give either --policy (fresh reward model) or --init-reward (go on with one), not both")
    if settings.incremental and not settings.init_reward:
        raise ConfigError("--incremental goes on with a reward model: give it with --init-reward")
    if settings.incremental and settings.epochs != 1:
        raise ConfigError(f"--incremental takes one pass over fresh comparisons: --epochs {settings.epochs} is not it")
    return source


def _usage(settings: RewardSettings) -> Usage:
    """Return what the reward model that is continued has seen; one without a record may only be trained on all."""
    if settings.init_reward and (settings.incremental or (settings.init_reward / USES_FILE).exists()):
        return Usage.load(settings.init_reward)
    return Usage()


def _batch_size(settings: RewardSettings) -> int:
    return (settings.incremental and settings.incremental_batch_size) or settings.batch_size


def _schedule(settings: RewardSettings, steps: int) -> Schedule:
    return Schedule(steps=steps, floor=settings.incremental_lr_floor) if settings.incremental else Schedule(steps=steps)


def _choose(train: list[PreferenceGroup], usage: Usage, settings: RewardSettings) -> Selection:
    """Return all that may be trained on, or what an incremental run takes of it."""
    if not settings.incremental:
        return Selection(train, len(train), 0)
    chosen = select(train, usage, ratio=settings.replay, max_uses=settings.max_uses, seed=settings.seed)
    if not chosen.fresh:
        raise DataError(f"no fresh comparison: {settings.init_reward} has seen all {len(train)} that may be trained on")
    return chosen


def _tie(groups: Sequence[PreferenceGroup], settings: RewardSettings) -> TieParameter | None:
    """Return the tie parameter to learn: the continued reward model's if it has the same, else one from the data."""
    if settings.ties == "drop":
        return None
    found = TieParameter.load(settings.init_reward) if settings.init_reward else None
    if found is not None and found.model == settings.ties:
        return replace(found, rate=settings.tie_rate)
    ties, pairs = sum(len(group.ties) for group in groups), sum(len(group.pairs) for group in groups)
    return TieParameter.start(settings.ties, ties, ties + pairs, settings.tie_rate)


def _tokens(group: PreferenceGroup, packed: bool) -> int:
    """Tokens that one pass over a group runs through the model, padding left out."""
    return len(group.prompt_ids) * (1 if packed else group.K) + sum(map(len, group.completions))


def _model(settings: RewardSettings, device: torch.device) -> ScalarModel:
    if settings.init_reward:
        return ScalarModel.load(settings.init_reward, device=device)
    return ScalarModel.from_policy(str(settings.policy), device=device)


def naming_of(
    settings: RewardSettings, tokenizer: PreTrainedTokenizerBase, limits: Limits, train: Sequence[PreferenceGroup]
) -> Callable[[Sequence[PreferenceGroup], float], list[PreferenceGroup]]:
    """Return what names the labeler group in prompts, all but a share of them; nothing does without ``condition``."""
    known = {group.labeler_group for group in train if group.labeler_group}
    if settings.condition != "none" and not known:
        raise ConfigError(f"--condition {settings.condition}: no comparison that is trained on has a `labeler_group`")

    def named(groups: Sequence[PreferenceGroup], unnamed_share: float) -> list[PreferenceGroup]:
        if settings.condition == "none":
            return list(groups)
        return named_groups(groups, tokenizer, limits, unnamed_share=unnamed_share, seed=settings.seed, known=known)

    return named


def _demonstrations(
    settings: RewardSettings, tokenizer: PreTrainedTokenizerBase, limits: Limits, bad: BadRows
) -> list[list[int]]:
    """Sequences whose mean score will be 0; those cut at the limit are left out, because no score ends them."""
    if not settings.demonstrations:
        return []
    found = by_id(read_demonstrations(settings.demonstrations, tokenizer, limits, Counts(bad=bad)))
    return [each.prompt_ids + each.completion_ids for each in found if each.finished]


def _held_out_report(
    model: ScalarModel,
    groups: Sequence[PreferenceGroup],
    settings: RewardSettings,
    pad_id: int,
    tie: TieParameter | None,
) -> dict[str, Any]:
    prompts = judge(model, groups, pad_id, settings.micro_batch_tokens)

    def figures(some: Sequence[JudgedPrompt]) -> dict[str, Any]:
        return report(some, seed=settings.seed)

    everything = figures([prompt for prompt, group in zip(prompts, groups, strict=True) if group.split != EXCLUDED])
    return {
        "accuracy": everything.get("accuracy"),
        "held_out": everything,
        "held_out_ties": tie_calibration(prompts, tie.share) if tie is not None else None,
        "by_set": by_key(prompts, [group.source for group in groups], figures),
        "by_labeler_group": by_key(prompts, [group.labeler_group for group in groups], figures),
        "by_split": by_key(prompts, [group.split or "valid" for group in groups], figures),
    }


def _unnamed_report(
    model: ScalarModel, groups: Sequence[PreferenceGroup], settings: RewardSettings, pad_id: int
) -> dict[str, Any]:
    """What a model that was trained on prompts with a labeler group's name knows without one."""
    if settings.condition == "none":
        return {}
    whole = _held_out_report(model, groups, settings, pad_id, None)
    return {"unnamed": {key: whole[key] for key in ("accuracy", "by_labeler_group")}}
