"""Stage ``reward``: a reward model from ranked completions, all pairs of a prompt in one batch element.

Knows how groups are split, batched and reported; the loss is in `trainer.maths.losses`, the figures in
`trainer.maths.pair_report`, the zero point in `trainer.models.normalisation`.

Each completion is run through the trunk once, whatever the number of its pairs; each prompt weighs the same whatever
its K; ties are dropped; one epoch (Ouyang et al. 2022, arXiv:2203.02155, section 3.5, eq. 1, C.2).

Dimension letters: N completions of a micro-batch, P judged pairs, B sequences, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from feedback.errors import ConfigError, DataError
from trainer.data.batches import EpochOrder, by_tokens, pad
from trainer.data.reading import (
    BadRows,
    Counts,
    Limits,
    PreferenceGroup,
    held_out,
    read_demonstrations,
    read_preferences,
)
from trainer.maths.losses import kwise_loss_batch
from trainer.maths.pair_report import JudgedPrompt, by_key, report
from trainer.models.normalisation import centre
from trainer.models.policies import load_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.running.loop import optimize, precision
from trainer.running.optimization import Schedule
from trainer.running.run import open_run
from trainer.settings.stages import RewardSettings
from trainer.stages.score import judge

HELD_OUT_LABELERS = ("held-out", "held_out", "heldout")
"""Labeler groups whose judgements are never trained on (section 3.4)."""


@dataclass(frozen=True)
class Partition:
    """Who is trained on and who is only reported.

    Attributes:
        train: groups of training labelers with at least one pair.
        valid: groups on prompts that no training group has.
        leaked: groups left out because their prompt is trained on by another row.
    """

    train: list[PreferenceGroup]
    valid: list[PreferenceGroup]
    leaked: int


def run(settings: RewardSettings) -> dict[str, Any]:
    """Train, set the zero point, save the reward model with its tokenizer, and return the metrics.

    Raises:
        WhetstoneError: bad settings or data, or the loss diverged.
    """
    source = settings.init_reward or settings.policy
    if source is None or (settings.init_reward and settings.policy):
        raise ConfigError("give either --policy (fresh reward model) or --init-reward (go on with one), not both")
    with open_run("reward", settings, [*settings.preferences, *settings.demonstrations]) as run:
        tokenizer = load_tokenizer(source)
        model = _model(settings, run.device)
        limits = Limits(prompt_tokens=settings.max_prompt_tokens, completion_tokens=settings.max_completion_tokens)
        limits = limits.within(model.context_tokens)
        counts = Counts(bad=BadRows(settings.skip_bad))
        groups = merge_labels(read_preferences(settings.preferences, tokenizer, limits, counts))
        parts = partition(groups, settings.valid_fraction)
        demonstrations = _demonstrations(settings, tokenizer, limits)
        pad_id = int(tokenizer.pad_token_id)
        order = EpochOrder(len(parts.train), settings.batch_size, settings.seed)
        gradient = _Gradient(model, parts.train, order, settings, pad_id)
        steps = settings.max_steps or settings.epochs * order.batches_per_epoch
        optimize(run, settings, model, gradient, gradient, schedule=Schedule(steps=steps), lr=settings.lr)
        zero_of = demonstrations or [g.prompt_ids + completion for g in parts.train for completion in g.completions]
        centre(model, zero_of, pad_id, settings.micro_batch_tokens)
        model.save(run.directory, tokenizer)
        return run.finish(
            {
                "steps": steps,
                "train_loss": gradient.last_loss,
                "groups": len(parts.train),
                "pairs": sum(len(group.pairs) for group in parts.train),
                "ties": sum(group.ties for group in parts.train),
                "bias": float(model.bias),
                "zero_point": "demonstrations" if demonstrations else "training completions",
                "leaked_groups_dropped": parts.leaked,
                "limits": {"prompt_tokens": limits.prompt_tokens, "completion_tokens": limits.completion_tokens},
                "data": counts.as_metrics(),
            }
            | _held_out_report(model, parts.valid, settings, pad_id)
        )


def merge_labels(groups: Sequence[PreferenceGroup]) -> list[PreferenceGroup]:
    """Return groups with the rows of one comparison that several people of one labeler group ranked made one.

    Its prompt then weighs as much as any other, and its completions are run through the model once.
    """
    merged: dict[Any, PreferenceGroup] = {}
    for group in groups:
        texts = tuple(tuple(completion) for completion in group.completions)
        key = (tuple(group.prompt_ids), texts, group.labeler_group, group.split, group.source)
        first = merged.get(key)
        if first is not None:
            group = replace(first, pairs=first.pairs + group.pairs, ties=first.ties + group.ties)
        merged[key] = group
    return list(merged.values())


def partition(groups: Sequence[PreferenceGroup], valid_fraction: float) -> Partition:
    """Split groups into those to train on and those to report on, so that no prompt is on both sides.

    Args:
        groups: all groups; those without a split are held out by hash of customer or prompt.
        valid_fraction: share held out where the file does not say.

    Returns:
        The partition. Held-out labelers are never trained on; of other held-out rows, those whose prompt is trained
        on anyway are dropped and counted.

    Raises:
        DataError: no group with a pair is left to train on.
    """
    train: list[PreferenceGroup] = []
    rest: list[PreferenceGroup] = []
    for group in groups:
        split = group.split or ("valid" if held_out(group.messages, group.customer, valid_fraction) else "train")
        trained = split == "train" and group.labeler_group not in HELD_OUT_LABELERS
        (train if trained else rest).append(group)
    train = [group for group in train if group.pairs]
    if not train:
        raise DataError("no row to train on: every one is held out, or all its completions are tied")
    prompts = {tuple(group.prompt_ids) for group in train}
    valid = [group for group in rest if tuple(group.prompt_ids) not in prompts]
    return Partition(train, valid, leaked=len(rest) - len(valid))


class _Gradient:
    """Accumulates the gradient of one batch of prompts, a few forward passes at a time."""

    def __init__(
        self,
        model: ScalarModel,
        groups: Sequence[PreferenceGroup],
        order: EpochOrder,
        settings: RewardSettings,
        pad_id: int,
    ) -> None:
        self.model, self.groups, self.order, self.settings, self.pad_id = model, groups, order, settings, pad_id
        self.last_loss: float | None = None

    def __call__(self) -> dict[str, float]:
        groups = [self.groups[row] for row in self.order.next()]
        loss = hits = pairs = 0.0
        # A group's completions share a forward pass, as wide as its longest sequence.
        widths = [len(group.prompt_ids) + max(map(len, group.completions)) for group in groups]
        for rows in by_tokens(widths, self.settings.micro_batch_tokens, [group.K for group in groups]):
            micro = [groups[row] for row in rows]
            part, gaps = self._backward(micro, share=len(micro) / len(groups))
            loss, hits, pairs = loss + part, hits + float((gaps > 0).sum()), pairs + len(gaps)
        self.last_loss = loss
        return {"loss": loss, "accuracy": hits / pairs, "pairs": pairs}

    def state(self) -> dict[str, Any]:
        return {"batches": self.order.cursor}

    def restore(self, state: dict[str, Any]) -> None:
        self.order.cursor = int(state["batches"])

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
