"""The optimizer steps of one iteration: which are taken, which are skipped, which are left out.

Knows minibatches and the two reasons not to take a step: a number that is none, and a policy that has moved far enough.
Does not know how a step is computed (`trainer.ppo.step`) or when too many were skipped (`trainer.running.bad_steps`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from feedback.errors import Diverged
from trainer.ppo.experience import Experience
from trainer.ppo.job import PpoJob
from trainer.ppo.step import minibatch_step, shuffled_minibatches
from trainer.settings.guards import BUDGET_STOP
from trainer.settings.ppo import PpoSettings


def take_steps(job: PpoJob, experience: Experience, ids: Sequence[str], settings: PpoSettings) -> dict[str, float]:
    """Take an iteration's optimizer steps.

    A step with a number that is none is skipped and its prompts are written down. Once a minibatch measures 1.5 times
    ``max_update_kl_nats``, or too many steps were skipped, the rest of the iteration is left out.

    Args:
        job: whose learner steps, whose text is taken, whose bad steps are counted.
        experience: of the iteration's batch.
        ids: (B,) the prompts' ids.
        settings: minibatches and limits.

    Returns:
        Means over the steps taken, ``ppo/optimizer_steps``, how many those were, and ``ppo/left_out_steps``.
    """
    most = BUDGET_STOP * settings.max_update_kl_nats or math.inf
    taken: list[dict[str, Tensor]] = []
    left_out, far_enough = 0, False
    for rows_B in _minibatches(job.iteration, settings):
        if far_enough or job.bad_steps.verdict:
            left_out += 1
            continue
        try:
            text = job.next_text(settings)
            step = minibatch_step(job.learner, experience, rows_B.to(job.device), text, settings, job.world)
        except Diverged as error:
            job.bad_steps.bad(job.iteration, str(error), [ids[row] for row in rows_B.tolist()])
            continue
        job.bad_steps.good()
        taken.append(step)
        far_enough = step["ppo/policy/approxkl_avg"].item() > most
    return _means(taken) | {"ppo/optimizer_steps": float(len(taken)), "ppo/left_out_steps": float(left_out)}


def spoilt(metrics: Mapping[str, float], columns: Sequence[Tensor], ids: Sequence[str]) -> tuple[str, list[str]]:
    """Why an iteration cannot be learned from, and the prompts to blame; an empty reason when it can.

    Args:
        metrics: of the experience, before any step.
        columns: (B,) or (B, A) tensors that it was made of.
        ids: (B,) the prompts' ids.

    Returns:
        The reason, naming a figure, and the ids of the rows that are not finite; all of them where none is to blame.
    """
    name = next((name for name, value in metrics.items() if not math.isfinite(value)), None)
    if name is None:
        return "", []
    good_B = torch.ones(len(ids), dtype=torch.bool)
    for entries in columns:
        good_B &= entries.isfinite().view(len(ids), -1).all(1).cpu()
    to_blame = [id for id, good in zip(ids, good_B.tolist(), strict=True) if not good]
    return f"{name} is {metrics[name]}", to_blame or list(ids)


def _minibatches(iteration: int, settings: PpoSettings) -> Iterator[Tensor]:
    """Every inner epoch's minibatches, in an order drawn from seed, iteration and epoch."""
    for epoch in range(settings.inner_epochs):
        seed = (settings.seed * 1_000_003 + iteration) * 1009 + epoch
        yield from shuffled_minibatches(settings.batch_size, settings.minibatches, seed)


def _means(steps: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Means over the iteration's optimizer steps; the log ratio of the first one, which must be 0, by itself."""
    if not steps:
        return {}
    names = [name for name in steps[0] if name != "val/max_log_ratio"]
    means = {name: torch.stack([step[name] for step in steps]).mean().item() for name in names}
    return means | {"val/first_max_log_ratio": steps[0]["val/max_log_ratio"].item()}
