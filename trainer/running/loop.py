"""The loop that pretraining, supervised fine-tuning and the reward model share: gradient, step, progress, checkpoint.

Knows step counts, schedules and when to write a checkpoint; does not know losses or data, which the
stage gives as a function that accumulates one batch's gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import nn

from trainer.running.checkpoint import load_checkpoint, save_checkpoint
from trainer.running.optimization import Schedule, adamw, guarded_step, set_lr
from trainer.running.progress import Progress
from trainer.running.run import Run
from trainer.settings.stages import TrainingSettings


class Cursor(Protocol):
    """Where a stage stands in its data; all that a resumed run needs besides weights and generators."""

    def state(self) -> dict[str, Any]:
        """Return the position as plain JSON values."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a position that ``state`` returned."""


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
        Diverged: a loss or gradient is not finite.
    """
    optimizer = adamw(model, settings, lr)
    start, steps = 0, schedule.steps
    if (latest := run.latest_checkpoint()) is not None:
        resumed = load_checkpoint(latest, modules={"model": model}, optimizers={"adam": optimizer})
        cursor.restore(resumed.state)
        start = resumed.step
    model.train()
    with Progress(run.stage, steps, run.directory, start=start) as progress:
        for step in range(start, steps):
            rate = lr * schedule.share(step)
            set_lr(optimizer, rate)
            metrics = gradient()
            norm = guarded_step(
                optimizer, model.parameters(), settings.max_grad_norm, loss=metrics["loss"], stage=run.stage, step=step
            )
            progress.update(step + 1, metrics | {"grad_norm": norm, "lr": rate})
            if after_step is not None:
                after_step(step + 1)
            if settings.checkpoint_every and (step + 1) % settings.checkpoint_every == 0 and step + 1 < steps:
                save_checkpoint(
                    run.checkpoints,
                    step + 1,
                    modules={"model": model},
                    optimizers={"adam": optimizer},
                    state=cursor.state(),
                )
    model.eval()
    return start


def precision(settings: TrainingSettings, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context of a forward pass: bfloat16 autocast if asked for, else nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.bf16)
