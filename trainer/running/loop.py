"""The loop that pretraining, supervised fine-tuning and the reward model share: gradient, step, progress, checkpoint.

Knows step counts, schedules, when to write a checkpoint and what follows a bad step; does not know losses or data,
which the stage gives as a function that accumulates one batch's gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from feedback.errors import Diverged
from trainer.running.bad_steps import BadSteps
from trainer.running.checkpoint import Resumed
from trainer.running.optimization import Schedule, adamw, guarded_step, set_lr
from trainer.running.progress import Progress, require_finite
from trainer.running.run import Run
from trainer.running.sharding import shard
from trainer.settings.stages import TrainingSettings


class Cursor(Protocol):
    """Where a stage stands in its data; all that a resumed run needs besides weights and generators."""

    def state(self) -> dict[str, Any]:
        """Return the position as plain JSON values."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a position that ``state`` returned."""

    def rows(self) -> list[str]:
        """Return the ids of the rows of the batch before the cursor, to be named should they spoil its step."""


def optimize(
    run: Run,
    settings: TrainingSettings,
    model: nn.Module,
    gradient: Callable[[], dict[str, float]],
    cursor: Cursor,
    *,
    schedule: Schedule,
    lr: float,
    after_step: Callable[[int], None] | None = None,
) -> int:
    """Take the schedule's steps, going on from the run's last checkpoint if it has one.

    A step whose loss, metrics or gradient are not finite is skipped: its batch is used up, no weight moves, its rows
    are written to ``bad-batches.jsonl``. Too many of them (see `trainer.running.bad_steps`) and the run goes back to
    its last checkpoint with half the learning rate, once.

    Args:
        run: gives directory and name.
        settings: of the optimizer and of checkpoints.
        model: whose trainable parameters move; put into training mode.
        gradient: accumulates the gradient of the next batch and returns metrics, ``loss`` among them.
        cursor: where the stage stands in its data.
        schedule: how many steps in all, those before the checkpoint included, and the share of the peak at each.
        lr: peak learning rate.
        after_step: called with the number of steps done, before a checkpoint is written.

    Returns:
        The step that this process began at.

    Raises:
        Diverged: too many steps were skipped, and there is no checkpoint to go back to, or the run went back before.
    """
    shard(model, run.world)
    optimizer = adamw(model, settings, lr)
    loop = _Loop(
        run, settings, model, optimizer, gradient, cursor, schedule, lr, after_step, BadSteps(run.own_directory)
    )
    start = loop.resume()
    loop.bad_steps.forget_after(start)
    model.train()
    begin = start
    while (stopped_at := loop.walk(begin)) is not None:
        begin = loop.go_back(stopped_at)
    model.eval()
    return start


@dataclass
class _Loop:
    """The arguments of ``optimize``, and what a walk through the steps needs besides."""

    run: Run
    settings: TrainingSettings
    model: nn.Module
    optimizer: torch.optim.Optimizer
    gradient: Callable[[], dict[str, float]]
    cursor: Cursor
    schedule: Schedule
    lr: float
    after_step: Callable[[int], None] | None
    bad_steps: BadSteps

    def walk(self, begin: int) -> int | None:
        """Take the steps from ``begin`` on; return None at the end, or the steps done when too many were skipped."""
        steps, every = self.schedule.steps, self.settings.checkpoint_every
        with (
            Progress(
                self.run.stage,
                steps,
                self.run.own_directory,
                start=begin,
                stream=self.run.stream,
                tensorboard=self.settings.tensorboard,
            ) as progress,
            self.run.stop.after_steps(),
        ):
            for step in range(begin, steps):
                progress.update(step + 1, self._step(step))
                if self.bad_steps.verdict:
                    return step + 1
                if self.after_step is not None:
                    self.after_step(step + 1)
                stopping = self.run.stopping
                if stopping or (every and ((step + 1) % every == 0 or step + 1 == steps)):
                    self._save(step + 1)
                if stopping:
                    self.run.stop.now(f"after step {step + 1} of {steps}")
        self.bad_steps.require_one_good()
        return None

    def resume(self) -> int:
        """Take up the newest checkpoint; return its step, 0 when there is none."""
        found = self._load()
        if found is None:
            return 0
        self.bad_steps.load_state_dict(found.state["bad_steps"])
        return found.step

    def go_back(self, stopped_at: int) -> int:
        """Take up the newest good checkpoint with half the learning rate; return its step."""
        why = f"{self.run.stage} stopped at step {stopped_at}: {self.bad_steps.verdict}"
        if self.bad_steps.attempt:
            raise Diverged(f"{why}; it had gone back once, to half the learning rate")
        found = self._load(good_only=True)
        if found is None:
            raise Diverged(f"{why}; there is no checkpoint to go back to, see --checkpoint-every")
        self.bad_steps.go_back(found.state["bad_steps"])
        return found.step

    def _step(self, step: int) -> dict[str, float]:
        """Take one step, or skip it; return its metrics, those that are finite."""
        rate = self.lr * self.schedule.share(step) * self.bad_steps.lr_scale
        set_lr(self.optimizer, rate)
        self._seed(step)
        metrics = self.gradient()
        self.run.world.sum_gradients(self.model.parameters())
        try:
            for name, value in metrics.items():
                require_finite(value, name, self.run.stage, step)
            metrics["grad_norm"] = guarded_step(
                self.optimizer,
                self.model.parameters(),
                self.settings.max_grad_norm,
                loss=metrics["loss"],
                stage=self.run.stage,
                step=step,
            )
            self.bad_steps.good()
        except Diverged as error:
            self.optimizer.zero_grad(set_to_none=True)
            self.bad_steps.bad(step, str(error), self.cursor.rows())
        skipped = {"skipped_steps": float(self.bad_steps.skipped)} if self.bad_steps.skipped else {}
        return {name: value for name, value in metrics.items() if math.isfinite(value)} | {"lr": rate} | skipped

    def _seed(self, step: int) -> None:
        """Give each of several processes dropout of its own, drawn anew at every step: nothing to keep for a resume."""
        if self.run.world.size > 1:
            torch.manual_seed((self.settings.seed * 1_000_003 + step) * 4099 + self.run.world.rank)

    def _save(self, step: int) -> None:
        self.run.save_checkpoint(
            step,
            modules={"model": self.model},
            optimizers={"adam": self.optimizer},
            state={"cursor": self.cursor.state(), "bad_steps": self.bad_steps.state_dict()},
            good=self.bad_steps.last_was_good,
        )

    def _load(self, *, good_only: bool = False) -> Resumed | None:
        found = self.run.resume(modules={"model": self.model}, optimizers={"adam": self.optimizer}, good_only=good_only)
        if found is not None:
            self.cursor.restore(found.state["cursor"])
        return found


def precision(settings: TrainingSettings, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context of a forward pass: bfloat16 autocast if asked for, else nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.bf16)
