"""One optimizer step of PPO-ptx: a minibatch of episodes and its share of pretraining text, two models, two optimizers.

Knows gradients: how micro-batches add up, how the pretraining gradient joins the PPO one before a single clip and a
single step. Does not know rollouts, iterations or files.

Dimension letters: B episodes of the minibatch, T tokens, A actions, N chosen positions, S text blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from feedback.errors import Diverged
from trainer.maths.losses import language_model_loss, policy_loss, value_loss
from trainer.maths.shards import clip_gradient, gradient_norm
from trainer.models.actions import action_positions, logprobs_at, pack, states_at, text_positions, to_actions
from trainer.models.packing import can_pack
from trainer.models.scalar import ScalarModel
from trainer.ppo.experience import Experience
from trainer.ppo.passes import can_all_pack, passes
from trainer.running.distributed import ALONE, World
from trainer.settings.ppo import PpoSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """The two models that learn, each with its own optimizer: separate trunks, nothing shared."""

    policy: PreTrainedModel
    value: ScalarModel
    policy_optimizer: torch.optim.Optimizer
    value_optimizer: torch.optim.Optimizer


class Text(NamedTuple):
    """Pretraining blocks: (S, T) int64 token ids, padding last, and the (S,) real tokens of each."""

    ids_ST: Tensor
    lengths_S: Tensor


def minibatch_step(
    learner: Learner,
    experience: Experience,
    rows_B: Tensor,
    text: Text | None,
    settings: PpoSettings,
    world: World = ALONE,
) -> dict[str, Tensor]:
    """Take one step of the policy on PPO plus ``ptx_coef`` times pretraining, and one of the value model.

    Both policy gradients are computed in consecutive passes and added before the one step (paper, C.4); they are kept
    apart just long enough to log the norm of each.

    Args:
        learner: what is changed.
        experience: of the whole batch.
        rows_B: (B,) the minibatch's rows.
        text: pretraining blocks, or None.
        settings: clips, coefficients, norms.
        world: processes that share rows and blocks; every one takes the same step.

    Returns:
        0-d tensors by metric name: losses and clip fractions per action, norms before clipping.

    Raises:
        Diverged: a loss, ratio, KL or gradient is not finite; no model was changed.
    """
    policy_parameters, value_parameters = _learned(learner.policy_optimizer), _learned(learner.value_optimizer)
    learner.policy_optimizer.zero_grad(set_to_none=True)
    learner.value_optimizer.zero_grad(set_to_none=True)
    metrics = _accumulate_ppo(learner, experience, rows_B, settings, world)
    world.sum_gradients([*policy_parameters, *value_parameters])
    if text is not None and settings.ptx_coef > 0:
        metrics["ppo/grad_norm/ppo"] = _norm(policy_parameters)
        ppo_gradients = [p.grad for p in policy_parameters]
        learner.policy_optimizer.zero_grad(set_to_none=True)
        metrics["ppo/ptx/loss"] = accumulate_ptx(
            learner.policy,
            text,
            coef=settings.ptx_coef,
            micro_batch_tokens=settings.micro_batch_tokens,
            world=world,
            packed=settings.packed,
        )
        world.sum_gradients(policy_parameters)
        metrics["ppo/grad_norm/ptx"] = _norm(policy_parameters)
        _add(policy_parameters, ppo_gradients)
    metrics["ppo/grad_norm/policy"] = _clip(policy_parameters, settings.max_grad_norm)
    metrics.setdefault("ppo/grad_norm/ppo", metrics["ppo/grad_norm/policy"])
    metrics["ppo/grad_norm/value"] = _clip(value_parameters, settings.max_grad_norm)
    for name, value in metrics.items():  # losses, ratio and KL as well as the norms
        if not math.isfinite(value.item()):
            raise Diverged(f"{name} is {value.item()}; no weight was changed by this step")
    learner.policy_optimizer.step()
    learner.value_optimizer.step()
    torch.clear_autocast_cache()  # bfloat16 copies of the weights before this step; the next one would compute on them
    return metrics


def _accumulate_ppo(
    learner: Learner, experience: Experience, rows_B: Tensor, settings: PpoSettings, world: World
) -> dict[str, Tensor]:
    """Add the gradients of the policy and value losses, each per action of the whole minibatch."""
    actions = experience.mask_BA[rows_B].sum()
    totals: dict[str, Tensor] = {}  # on the device: a copy to the host in every pass would wait for the pass
    largest = torch.zeros((), device=rows_B.device)
    packed = settings.packed and can_all_pack(learner.policy, learner.value)
    for part in passes(experience.lengths_B[rows_B], settings.micro_batch_tokens * world.size, packed=packed):
        rows, weight = world.share(rows_B[part])
        lengths_B = experience.lengths_B[rows]
        ids_BT = experience.input_ids_BT[rows, : int(lengths_B.max())]
        row = pack(ids_BT, lengths_B) if packed else None
        mask_BA = experience.mask_BA[rows]
        positions = action_positions(ids_BT, experience.prompt_tokens_B[rows], mask_BA)
        new_N = logprobs_at(learner.policy, ids_BT, positions, temperature=settings.temperature, packed=row)
        logprobs_BA = to_actions(new_N, mask_BA)
        old_BA = experience.old_logprobs_BA[rows]
        policy = policy_loss(
            logprobs_BA, old_BA, experience.advantages_BA[rows], mask_BA, clip=settings.clip, tokens=actions
        )
        (weight * policy.loss).backward()  # type: ignore[no-untyped-call]
        values_N = learner.value.of_states(states_at(learner.value.trunk, ids_BT, positions, row))
        value = value_loss(
            to_actions(values_N, mask_BA),
            experience.old_values_BA[rows],
            experience.returns_BA[rows],
            mask_BA,
            clip=settings.value_clip,
            tokens=actions,
        )
        (weight * value.loss).backward()  # type: ignore[no-untyped-call]
        log_ratio_N = new_N.detach() - old_BA[mask_BA]
        figures = {
            "ppo/loss/policy_avg": policy.loss.detach(),
            "ppo/policy/clipfrac_avg": policy.clipfrac,
            "ppo/policy/approxkl_avg": 0.5 * log_ratio_N.square().sum() / actions,
            "val/ratio": log_ratio_N.exp().sum() / actions,
            "ppo/loss/value_avg": value.loss.detach(),
            "ppo/val/clipfrac_avg": value.clipfrac,
        }
        totals = {name: totals.get(name, torch.zeros_like(f)) + weight * f for name, f in figures.items()}
        largest = torch.maximum(largest, log_ratio_N.abs().max())
    summed = dict(zip(totals, world.sum(torch.stack(list(totals.values()))).cpu(), strict=True))
    return summed | {"val/max_log_ratio": world.max(largest).cpu()}


def accumulate_ptx(
    model: PreTrainedModel,
    text: Text,
    *,
    coef: float,
    micro_batch_tokens: int,
    world: World = ALONE,
    packed: bool = True,
) -> Tensor:
    """Add ``coef`` times the gradient of the mean loss over the blocks' predicted tokens.

    Args:
        model: policy.
        text: pretraining blocks.
        coef: weight of the loss.
        micro_batch_tokens: most tokens in one pass.
        world: processes that share the blocks; gradients are theirs and not summed here.
        packed: without padding, where the model can.

    Returns:
        () the loss of all blocks without its coefficient, in nats per token.
    """
    tokens = (text.lengths_S - 1).sum()
    total = torch.zeros((), device=text.ids_ST.device)
    packed = packed and can_pack(model)
    for together in passes(text.lengths_S, micro_batch_tokens * world.size, packed=packed):
        rows, weight = world.share(together)
        lengths_S = text.lengths_S[rows]
        part_ST = text.ids_ST[rows, : int(lengths_S.max())]
        row = pack(part_ST, lengths_S) if packed else None
        logprobs_N = logprobs_at(model, part_ST, text_positions(part_ST, lengths_S), temperature=1.0, packed=row)
        loss = language_model_loss(logprobs_N, torch.ones_like(logprobs_N), tokens)
        (weight * coef * loss).backward()  # type: ignore[no-untyped-call]
        total += weight * loss.detach()
    return world.sum(total).cpu()


def shuffled_minibatches(batch_size: int, minibatches: int, seed: int) -> Iterator[Tensor]:
    """A random split of the batch into equal minibatches: every episode exactly once, nothing dropped."""
    generator = torch.Generator().manual_seed(seed)
    yield from torch.split(torch.randperm(batch_size, generator=generator), batch_size // minibatches)


def warmed_up(peak: float, iteration: int, warmup_iterations: int) -> float:
    """The learning rate of an iteration: linear from a tenth of the peak over the warm-up, then constant.

    Source: Ouyang et al. 2022, arXiv:2203.02155, appendix C.4.
    """
    if iteration >= warmup_iterations:
        return peak
    return peak * (0.1 + 0.9 * iteration / warmup_iterations)


def _learned(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """What an optimizer steps: its list is at hand, a model's must be gathered from all of its modules."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _norm(parameters: list[nn.Parameter]) -> Tensor:
    return gradient_norm(parameters).cpu()


def _clip(parameters: list[nn.Parameter], max_norm: float) -> Tensor:
    """Scale the gradients down to ``max_norm`` (0: leave them); return the norm that they had."""
    if max_norm == 0:
        return _norm(parameters)
    return clip_gradient(parameters, max_norm).cpu()


def _add(parameters: list[nn.Parameter], gradients: list[Tensor | None]) -> None:
    """Add gradients that were set aside to the present ones."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            continue
        if parameter.grad is None:
            parameter.grad = gradient
        else:
            parameter.grad += gradient
