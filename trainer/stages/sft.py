"""Stage ``sft``: a pretrained policy learns to answer as labelers do.

Knows demonstrations, the pretraining mix and how the epoch is chosen; the loss is in `trainer.maths.losses`.

Only completion tokens are learned, EOS among them; prompt and padding are not. The epoch kept is the one whose samples
a reward model scores highest on validation prompts, or that with the lowest validation loss if no reward model is
given (departure: the paper always selects by reward, because loss overfits after one epoch; section 3.5, C.1). Mixed-in
text weighs its share of the batch whatever its length: loss = (1 - f) demonstrations + f text, each per token.

Dimension letters: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from feedback.errors import DataError
from trainer.data.batches import EpochOrder, by_tokens, pad
from trainer.data.reading import (
    BadRows,
    Counts,
    Demonstration,
    Limits,
    TextBlocks,
    by_id,
    held_out,
    read_demonstrations,
    read_text_blocks,
)
from trainer.data.text import read_text_documents
from trainer.maths.logprobs import token_logprobs
from trainer.maths.losses import language_model_loss
from trainer.models.policies import context_tokens, load_policy, load_tokenizer, save_policy
from trainer.running.distributed import World
from trainer.running.loop import optimize, precision
from trainer.running.optimization import Schedule
from trainer.running.run import open_run
from trainer.running.sharding import pull
from trainer.settings.stages import DemonstrationSettings, SftSettings
from trainer.stages.pretrain import text_loss
from trainer.stages.selection import Selection

_EVALUATION_TOKENS = 16384


def run(settings: SftSettings) -> dict[str, Any]:
    """Fine-tune, save the best epoch's policy in Hugging Face layout, and return the metrics.

    Raises:
        WhetstoneError: bad settings or data, or the loss diverged.
    """
    return fine_tune("sft", settings)


def fine_tune(stage: str, settings: DemonstrationSettings) -> dict[str, Any]:
    """Train on demonstrations for the stage of that name; ``start`` keeps its last epoch, ``sft`` its best one.

    Raises:
        WhetstoneError: bad settings or data, or the loss diverged.
    """
    models = filter(None, (settings.policy, getattr(settings, "reward_model", None)))
    with open_run(stage, settings, [*settings.demonstrations, *settings.text, *models]) as run:
        tokenizer = load_tokenizer(settings.policy)
        policy = load_policy(
            settings.policy, dropout=settings.dropout, device=run.device, lora=settings, seed=settings.seed
        )
        limits = Limits(prompt_tokens=settings.max_prompt_tokens, completion_tokens=settings.max_completion_tokens)
        limits = limits.within(context_tokens(policy))
        counts = Counts(bad=BadRows.of(settings, run.own_directory))
        train, valid = split(
            by_id(read_demonstrations(settings.demonstrations, tokenizer, limits, counts)), settings.valid_fraction
        )
        gradient = _gradient(policy, tokenizer, train, settings, run.world, counts.bad)
        judged = settings if isinstance(settings, SftSettings) and valid else None
        per_epoch = gradient.order.batches_per_epoch
        steps = settings.max_steps or settings.epochs * per_epoch
        selection = Selection(
            run.checkpoints,
            policy,
            tokenizer,
            loss=(lambda: validation_loss(policy, valid, gradient.pad_id)) if judged else None,
            reward_model=judged.reward_model if judged else None,
            prompts=[each.prompt_ids for each in valid[: judged.select_prompts]] if judged else [],
            max_completion_tokens=limits.completion_tokens,
            seed=settings.seed,
            world=run.world,
        )
        gradient.selection = selection

        def after_step(step: int) -> None:
            if step % per_epoch == 0 or step == steps:
                selection.consider(-(-step // per_epoch))

        schedule = Schedule(steps=steps)
        optimize(run, settings, policy, gradient, gradient, schedule=schedule, lr=settings.lr, after_step=after_step)
        selection.take_best()
        trained = pull(policy)
        if run.world.main:
            save_policy(trained, tokenizer, run.directory)
        return run.finish(
            {
                "steps": steps,
                "train_loss": gradient.last_loss,
                "validation_loss": validation_loss(policy, valid, gradient.pad_id) if valid else None,
                "demonstrations": len(train),
                "validation_demonstrations": len(valid),
                "selected_by": selection.criterion,
                "selected_epoch": selection.best_epoch,
                "epochs": selection.history,
                "limits": {"prompt_tokens": limits.prompt_tokens, "completion_tokens": limits.completion_tokens},
                "data": counts.as_metrics(),
            }
        )


def split(
    demonstrations: Sequence[Demonstration], valid_fraction: float
) -> tuple[list[Demonstration], list[Demonstration]]:
    """Return (training, validation) demonstrations; a prompt that is trained on is never in validation.

    Raises:
        DataError: nothing is left to train on.
    """
    train: list[Demonstration] = []
    valid: list[Demonstration] = []
    for each in demonstrations:
        part = each.split or ("valid" if held_out(each.messages, None, valid_fraction) else "train")
        (train if part == "train" else valid).append(each)
    if not train:
        raise DataError("no demonstration to train on: every one is held out")
    prompts = {tuple(each.prompt_ids) for each in train}
    return train, [each for each in valid if tuple(each.prompt_ids) not in prompts]


def demonstration_loss(
    policy: PreTrainedModel, demonstrations: Sequence[Demonstration], pad_id: int, tokens: float | None = None
) -> Tensor:
    """Return () the loss per completion token, in nats; prompt and padding do not count.

    Args:
        policy: causal language model.
        demonstrations: of one batch.
        pad_id: fills short rows.
        tokens: denominator; the batch's completion tokens by default.
    """
    batch = pad(
        [each.prompt_ids + each.completion_ids for each in demonstrations],
        pad_id,
        [len(each.prompt_ids) for each in demonstrations],
    ).to(policy.device)
    logprobs_BT = token_logprobs(policy, batch.input_ids_BT, batch.attention_mask_BT)
    return language_model_loss(logprobs_BT, batch.target_mask_BT, tokens)


@torch.no_grad()
def validation_loss(policy: PreTrainedModel, demonstrations: Sequence[Demonstration], pad_id: int) -> float:
    """Return the mean loss over all completion tokens, in nats per token."""
    total = 0.0
    training = policy.training
    policy.eval()
    lengths = [len(each.prompt_ids) + len(each.completion_ids) for each in demonstrations]
    for rows in by_tokens(lengths, _EVALUATION_TOKENS):
        total += float(demonstration_loss(policy, [demonstrations[row] for row in rows], pad_id, tokens=1.0))
    policy.train(training)
    return total / sum(len(each.completion_ids) for each in demonstrations)


@dataclass
class _Gradient:
    """Accumulates one batch's gradient; its cursor includes the selection's."""

    policy: PreTrainedModel
    pad_id: int
    train: Sequence[Demonstration]
    order: EpochOrder
    text: TextBlocks | None
    text_rows: int
    settings: DemonstrationSettings
    world: World
    selection: Selection | None = None
    last_loss: float | None = None

    def __call__(self) -> dict[str, float]:
        share = self.settings.text_fraction if self.text else 0.0
        answers = self._answers()
        ((1.0 - share) * answers).backward()  # type: ignore[no-untyped-call]
        [self.last_loss] = self.world.totals(float(answers.detach()))
        metrics = {"loss": self.last_loss}
        if self.text is not None:
            text = self._text(self.text)
            (share * text).backward()  # type: ignore[no-untyped-call]
            [metrics["text_loss"]] = self.world.totals(float(text.detach()))
        return metrics

    def _answers(self) -> Tensor:
        """Return () this process's part of the batch's loss per completion token."""
        rows = self.order.next()
        tokens = sum(len(self.train[row].completion_ids) for row in rows)
        mine, weight = self.world.share(rows)
        with precision(self.settings, self.policy.device):
            return weight * demonstration_loss(self.policy, [self.train[row] for row in mine], self.pad_id, tokens)

    def _text(self, text: TextBlocks) -> Tensor:
        """Return () this process's part of the loss per predicted token of the text mixed in."""
        ids_BT, lengths_B = text.take_rows(self.text_rows)
        mine, weight = self.world.share(torch.arange(len(ids_BT)))
        with precision(self.settings, self.policy.device):
            return weight * text_loss(self.policy, ids_BT[mine], lengths_B[mine], int((lengths_B - 1).sum()))

    def state(self) -> dict[str, Any]:
        return {
            "batches": self.order.cursor,
            "text": self.text.cursor if self.text else 0,
            "selection": self.selection.state() if self.selection else {},
            "loss": self.last_loss,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.order.cursor = int(state["batches"])
        if self.text:
            self.text.cursor = int(state["text"])
        if self.selection:
            self.selection.restore(state["selection"])
        self.last_loss = state["loss"]

    def rows(self) -> list[str]:
        return [self.train[row].id for row in self.order.latest]


def _gradient(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[Demonstration],
    settings: DemonstrationSettings,
    world: World,
    bad: BadRows,
) -> _Gradient:
    text_rows = max(round(settings.batch_size * settings.text_fraction), 1) if settings.text else 0
    text_rows = min(text_rows, settings.batch_size - 1)
    text = None
    if text_rows:
        read = read_text_blocks if settings.text_packed else read_text_documents
        text = read(settings.text, tokenizer, settings.text_block_tokens, seed=settings.seed, bad=bad)
    order = EpochOrder(len(train), settings.batch_size - text_rows, settings.seed)
    return _Gradient(policy, int(tokenizer.pad_token_id), train, order, text, text_rows, settings, world)
