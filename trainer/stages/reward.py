"""Stage ``reward``: a reward model from ranked completions, all pairs of a prompt in one batch element.

Knows how groups are batched and reported; the loss is in `trainer.maths.losses`, the figures in
`trainer.maths.pair_report`, the zero point in `trainer.models.normalisation`.

Each completion is run through the trunk once, whatever the number of its pairs; each prompt weighs the same whatever
its K; ties are dropped; one epoch (Ouyang et al. 2022, arXiv:2203.02155, section 3.5, eq. 1, C.2). An incremental run
goes on with a reward model: one pass over the comparisons it never saw and a sample of those it did
(`trainer.data.replay`).

Dimension letters: N completions of a micro-batch, P judged pairs, B sequences, T tokens.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from feedback.errors import ConfigError, DataError
from trainer.data.batches import EpochOrder, by_tokens, pad
from trainer.data.partition import partition
from trainer.data.reading import BadRows, Counts, Limits, PreferenceGroup, read_demonstrations, read_preferences
from trainer.data.replay import USES_FILE, Selection, Usage, merge_labels, passes, select
from trainer.maths.losses import kwise_loss_batch
from trainer.maths.pair_report import JudgedPrompt, by_key, report
from trainer.models.normalisation import centre
from trainer.models.policies import load_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.running.distributed import ALONE, World
from trainer.running.loop import optimize, precision
from trainer.running.optimization import Schedule
from trainer.running.run import open_run
from trainer.settings.stages import RewardSettings
from trainer.stages.score import judge


def run(settings: RewardSettings) -> dict[str, Any]:
    """Train, set the zero point, save the reward model with its tokenizer and uses, and return the metrics.

    Raises:
        WhetstoneError: bad settings or data, or the loss diverged.
    """
    source = _source(settings)
    with open_run("reward", settings, [*settings.preferences, *settings.demonstrations]) as run:
        tokenizer = load_tokenizer(source)
        model = _model(settings, run.device)
        limits = Limits(prompt_tokens=settings.max_prompt_tokens, completion_tokens=settings.max_completion_tokens)
        limits = limits.within(model.context_tokens)
        counts = Counts(bad=BadRows(settings.skip_bad))
        groups = merge_labels(read_preferences(settings.preferences, tokenizer, limits, counts))
        parts = partition(groups, settings.valid_fraction)
        usage = _usage(settings)
        chosen = _choose(parts.train, usage, settings)
        demonstrations = _demonstrations(settings, tokenizer, limits)
        pad_id = int(tokenizer.pad_token_id)
        order = EpochOrder(len(chosen.groups), settings.batch_size, settings.seed)
        gradient = _Gradient(model, chosen.groups, order, settings, pad_id, run.world)
        steps = settings.max_steps or settings.epochs * order.batches_per_epoch
        began_s = time.process_time()
        optimize(run, settings, model, gradient, gradient, schedule=Schedule(steps=steps), lr=settings.lr)
        cpu_s = time.process_time() - began_s
        zero_of = demonstrations or [g.prompt_ids + completion for g in chosen.groups for completion in g.completions]
        centre(model, zero_of, pad_id, settings.micro_batch_tokens)
        if run.world.main:
            usage.after(passes(chosen.groups, order, steps)).save(run.directory)
            model.save(run.directory, tokenizer)
        return run.finish(
            {
                "steps": steps,
                "train_loss": gradient.last_loss,
                "train_cpu_s": round(cpu_s, 3),
                "train_tokens": sum(times * _tokens(chosen.groups[row]) for row, times in order.uses(steps).items()),
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
            | _held_out_report(model, parts.valid, settings, pad_id)
        )


def _source(settings: RewardSettings) -> Path:
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


def _choose(train: list[PreferenceGroup], usage: Usage, settings: RewardSettings) -> Selection:
    """Return all that may be trained on, or what an incremental run takes of it."""
    if not settings.incremental:
        return Selection(train, len(train), 0)
    chosen = select(train, usage, ratio=settings.replay, max_uses=settings.max_uses, seed=settings.seed)
    if not chosen.fresh:
        raise DataError(f"no fresh comparison: {settings.init_reward} has seen all {len(train)} that may be trained on")
    return chosen


def _tokens(group: PreferenceGroup) -> int:
    """Tokens that one pass over a group runs through the model, padding left out."""
    return sum(len(group.prompt_ids) + len(completion) for completion in group.completions)


class _Gradient:
    """Accumulates the gradient of one batch of prompts, a few forward passes at a time."""

    def __init__(
        self,
        model: ScalarModel,
        groups: Sequence[PreferenceGroup],
        order: EpochOrder,
        settings: RewardSettings,
        pad_id: int,
        world: World = ALONE,
    ) -> None:
        self.model, self.groups, self.order, self.settings, self.pad_id = model, groups, order, settings, pad_id
        self.world = world
        self.last_loss: float | None = None

    def __call__(self) -> dict[str, float]:
        groups = [self.groups[row] for row in self.order.next()]
        loss = hits = pairs = 0.0
        # A group's completions share a forward pass, as wide as its longest sequence.
        widths = [len(group.prompt_ids) + max(map(len, group.completions)) for group in groups]
        most_tokens = self.settings.micro_batch_tokens * self.world.size
        for rows in by_tokens(widths, most_tokens, [group.K for group in groups]):
            mine, weight = self.world.share(rows)
            micro = [groups[row] for row in mine]
            part, gaps = self._backward(micro, share=weight * len(micro) / len(groups))
            loss, hits, pairs = loss + part, hits + weight * float((gaps > 0).sum()), pairs + weight * len(gaps)
        loss, hits, pairs = self.world.totals(loss, hits, pairs)
        self.last_loss = loss
        return {"loss": loss, "accuracy": hits / pairs, "pairs": pairs}

    def state(self) -> dict[str, Any]:
        return {"batches": self.order.cursor}

    def restore(self, state: dict[str, Any]) -> None:
        self.order.cursor = int(state["batches"])

    def rows(self) -> list[str]:
        return [self.groups[row].id for row in self.order.latest]

    def _backward(self, groups: Sequence[PreferenceGroup], share: float) -> tuple[float, torch.Tensor]:
        """Add ``share`` of these prompts' mean loss to the gradient; return that share and each pair's gap."""
        device = self.model.head.weight.device
        sequences = [group.prompt_ids + completion for group in groups for completion in group.completions]
        pairs_P2, prompt_P = pair_index(groups)
        batch = pad(sequences, self.pad_id).to(device)
        with precision(self.settings, device):
            rewards_N = self.model.score(batch.input_ids_BT, batch.attention_mask_BT)
        loss = share * kwise_loss_batch(rewards_N, pairs_P2.to(device), prompt_P.to(device))
        loss.backward()  # type: ignore[no-untyped-call]
        rewards_N = rewards_N.detach().cpu()
        return float(loss.detach()), rewards_N[pairs_P2[:, 0]] - rewards_N[pairs_P2[:, 1]]


def pair_index(groups: Sequence[PreferenceGroup]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ((P, 2) positions of chosen and rejected among all completions in order, (P,) number of the group)."""
    pairs, prompts, start = [], [], 0
    for number, group in enumerate(groups):
        pairs += [(start + chosen, start + rejected) for chosen, rejected in group.pairs]
        prompts += [number] * len(group.pairs)
        start += group.K
    return torch.tensor(pairs).reshape(-1, 2), torch.tensor(prompts, dtype=torch.long)


def _model(settings: RewardSettings, device: torch.device) -> ScalarModel:
    if settings.init_reward:
        return ScalarModel.load(settings.init_reward, device=device)
    return ScalarModel.from_policy(str(settings.policy), device=device)


def _demonstrations(settings: RewardSettings, tokenizer: PreTrainedTokenizerBase, limits: Limits) -> list[list[int]]:
    """Sequences whose mean score will be 0; those cut at the limit are left out, because no score ends them."""
    if not settings.demonstrations:
        return []
    counts = Counts(bad=BadRows(settings.skip_bad))
    found = read_demonstrations(settings.demonstrations, tokenizer, limits, counts)
    return [each.prompt_ids + each.completion_ids for each in found if each.finished]


def _held_out_report(
    model: ScalarModel, groups: Sequence[PreferenceGroup], settings: RewardSettings, pad_id: int
) -> dict[str, Any]:
    prompts = judge(model, groups, pad_id, settings.micro_batch_tokens)

    def figures(some: Sequence[JudgedPrompt]) -> dict[str, Any]:
        return report(some, seed=settings.seed)

    everything = figures(prompts)
    return {
        "accuracy": everything.get("accuracy"),
        "held_out": everything,
        "by_set": by_key(prompts, [group.source for group in groups], figures),
        "by_labeler_group": by_key(prompts, [group.labeler_group for group in groups], figures),
        "by_split": by_key(prompts, [group.split or "valid" for group in groups], figures),
    }
