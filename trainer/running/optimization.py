"""Optimizer, learning-rate schedules and the guarded step that every stage takes.

Knows parameters, gradients and step counts; does not know losses or data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from trainer.maths.shards import clip_gradient, is_part
from trainer.running.progress import require_finite
from trainer.settings.stages import TrainingSettings


def adamw(model: nn.Module, settings: TrainingSettings, lr: float) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters; weight decay acts on matrices only.

    Source: betas 0.9 and 0.95 from Ouyang et al. 2022, appendix C.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Split parameters have groups of their own: the fused step takes no mixture.
    groups = [
        {
            "params": [p for p in trainable if (p.ndim >= 2) == matrices and is_part(p) == split],
            "weight_decay": settings.weight_decay if matrices else 0.0,
        }
        for split in (False, True)
        for matrices in (True, False)
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.adam_eps,
        fused=True,
    )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Share of the peak learning rate at each step: linear warm-up, then a fall to ``floor``.

    Source: Ouyang et al. 2022, appendix C: cosine to 10 % of the peak; no warm-up in SFT and reward model.

    Attributes:
        steps: in all.
        floor: share at the last step.
        warmup: steps of warm-up.
        linear: fall in a straight line instead of a cosine.
    """

    steps: int
    floor: float = 0.1
    warmup: int = 0
    linear: bool = False

    def share(self, step: int) -> float:
        """Return the share at ``step``, counted from 0."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        progress = min((step - self.warmup) / max(self.steps - 1 - self.warmup, 1), 1.0)
        left = 1.0 - progress if self.linear else 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.floor + (1.0 - self.floor) * left


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the learning rate ``lr``."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def guarded_step(
    optimizer: torch.optim.Optimizer,
    parameters: Iterable[nn.Parameter],
    max_grad_norm: float,
    *,
    loss: float,
    stage: str,
    step: int,
) -> float:
    """Clip the gradient, take one optimizer step, clear the gradient; return the norm before clipping.

    Raises:
        Diverged: loss or gradient norm is not finite; weights and optimizer are then untouched, the gradient cleared.
    """
    try:
        require_finite(loss, "loss", stage, step)
        norm = float(clip_gradient(parameters, max_grad_norm if max_grad_norm > 0 else math.inf))
        require_finite(norm, "gradient norm", stage, step)
        optimizer.step()
    finally:
        optimizer.zero_grad(set_to_none=True)
    return norm
