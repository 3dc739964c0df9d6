"""One rollout, scored: everything the optimizer steps of an iteration need, made in one pass without gradient.

Knows how rewards, values, log-probabilities and advantages come together; does not know optimizers or sampling.

Dimension letters: B episodes, T tokens, A actions of the longest completion, N chosen positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from trainer.maths.advantages import gae, penalise_missing_eos, token_rewards, whiten
from trainer.maths.logprobs import kl_k3
from trainer.maths.win_rates import rank_correlation
from trainer.models.actions import Positions, action_positions, logprobs_at, pack, states_at, statistics_at, to_actions
from trainer.models.ensemble import RewardEnsemble, combined, members_of
from trainer.models.packing import Packed
from trainer.models.scalar import ScalarModel
from trainer.ppo.passes import can_all_pack, passes
from trainer.rollouts.rollout import Rollout
from trainer.running.distributed import ALONE, World
from trainer.settings.ppo import PpoSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """What an iteration learns from; action-aligned tensors are 0 off the mask.

    Attributes:
        input_ids_BT: (B, T) prompt, completion, padding.
        prompt_tokens_B: (B,) prompt lengths.
        lengths_B: (B,) prompt and completion lengths together.
        mask_BA: (B, A) bool, True at actions.
        old_logprobs_BA: (B, A) nats, under the policy that the iteration began with, by the trainer's own forward.
        old_values_BA: (B, A) reward units, value of the state before each action.
        advantages_BA: (B, A) whitened if the settings say so, times the importance weight.
        returns_BA: (B, A) reward units.
    """

    input_ids_BT: Tensor
    prompt_tokens_B: Tensor
    lengths_B: Tensor
    mask_BA: Tensor
    old_logprobs_BA: Tensor
    old_values_BA: Tensor
    advantages_BA: Tensor
    returns_BA: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A rollout's forward passes; all action-aligned, 0 off the mask, except the scores.

    Attributes:
        logprobs_BA: nats, policy.
        ref_logprobs_BA: nats, reference.
        values_BA: reward units.
        entropies_BA: nats, of the policy's whole distribution at each action.
        scores_B: (B,) reward-model scores, or None without a reward model; an ensemble's are lessened by its penalty.
        spread_B: (B,) reward units, deviation between the members of an ensemble, or None without one.
    """

    logprobs_BA: Tensor
    ref_logprobs_BA: Tensor
    values_BA: Tensor
    entropies_BA: Tensor
    scores_B: Tensor | None
    spread_B: Tensor | None = None


@torch.no_grad()
def score_rollout(
    rollout: Rollout,
    *,
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    value: ScalarModel | None,
    reward: ScalarModel | RewardEnsemble | None,
    temperature: float,
    micro_batch_tokens: int,
    world: World = ALONE,
    packed: bool = True,
) -> Scored:
    """Run policy, reference, value and reward model over the rollout, a few rows at a time.

    Args:
        rollout: on the models' device.
        policy: samples' policy.
        reference: frozen.
        value: value model, or None where no values are wanted (they are then 0).
        reward: reward model or ensemble, or None when scores come from elsewhere.
        temperature: of both policies' logits.
        micro_batch_tokens: most tokens in one pass.
        world: processes that share each pass's rows; every one gets the figures of all.
        packed: without padding, where all models can.
    """
    ids_BT, mask_BA = rollout.input_ids_BT, rollout.action_mask_BA
    columns = {name: torch.zeros(mask_BA.shape, device=ids_BT.device) for name in ("new", "ref", "value", "entropy")}
    judges = members_of(reward) if reward is not None else []
    scores_MB = torch.zeros(len(judges), len(ids_BT), device=ids_BT.device)
    lengths_B = rollout.lengths_B
    packed = packed and can_all_pack(policy, reference, *filter(None, (value, *judges)))
    for together in passes(lengths_B, micro_batch_tokens * world.size, packed=packed):
        rows, weight = world.share(together)
        part_B, part_mask_BA = lengths_B[rows], mask_BA[rows]
        part_BT = ids_BT[rows, : int(part_B.max())]
        row = pack(part_BT, part_B) if packed else None
        positions = action_positions(part_BT, rollout.prompt_tokens_B[rows], part_mask_BA)
        flat = dict(
            zip(
                ("new", "entropy"),
                statistics_at(policy, part_BT, positions, temperature=temperature, packed=row),
                strict=True,
            )
        )
        flat["ref"] = logprobs_at(reference, part_BT, positions, temperature=temperature, packed=row)
        if value is not None:
            flat["value"] = value.of_states(states_at(value.trunk, part_BT, positions, row))
        for name, entries_N in flat.items():
            columns[name][rows] = weight * to_actions(entries_N, part_mask_BA)
        for scores_B, judge in zip(scores_MB, judges, strict=True):
            scores_B[rows] = weight * _last_scalars(judge, part_BT, part_B, row)
    # Each entry is 0 in all processes but one, so these sums are exact.
    scores, spread_B = combined(reward, world.sum(scores_MB)) if reward is not None else (None, None)
    return Scored(
        logprobs_BA=world.sum(columns["new"]),
        ref_logprobs_BA=world.sum(columns["ref"]),
        values_BA=world.sum(columns["value"]),
        entropies_BA=world.sum(columns["entropy"]),
        scores_B=scores,
        spread_B=spread_B,
    )


def make_experience(
    rollout: Rollout, scored: Scored, scores_B: Tensor, settings: PpoSettings, *, kl_coef: float
) -> tuple[Experience, dict[str, float]]:
    """Rewards, advantages and returns of a scored rollout, and the iteration's metrics before any update.

    Args:
        rollout: what was sampled.
        scored: its forward passes.
        scores_B: (B,) one score an episode, before the missing-EOS rule.
        settings: coefficients and switches.
        kl_coef: reward units per nat in this iteration.
    """
    mask_BA = rollout.action_mask_BA
    paid_B = penalise_missing_eos(
        scores_B, rollout.finished_B, mode=settings.missing_eos, penalty=settings.missing_eos_penalty
    )
    rewards_BA = token_rewards(scored.logprobs_BA, scored.ref_logprobs_BA, paid_B, mask_BA, kl_coef=kl_coef)
    if settings.whiten_rewards:
        rewards_BA = whiten(rewards_BA, mask_BA, shift_mean=False)
    advantages_BA, returns_BA = gae(
        rewards_BA, scored.values_BA, mask_BA, gamma=settings.gamma, lam=settings.gae_lambda
    )
    advantages_std = advantages_BA[mask_BA].std(correction=0).item()
    if settings.whiten_advantages:
        advantages_BA = whiten(advantages_BA, mask_BA)
    weights_BA = importance_weights(scored.logprobs_BA, rollout.sampler_logprobs_BA, mask_BA)
    experience = Experience(
        input_ids_BT=rollout.input_ids_BT,
        prompt_tokens_B=rollout.prompt_tokens_B,
        lengths_B=rollout.lengths_B,
        mask_BA=mask_BA,
        old_logprobs_BA=scored.logprobs_BA,
        old_values_BA=scored.values_BA,
        advantages_BA=advantages_BA * weights_BA.clamp(max=settings.importance_cap),
        returns_BA=returns_BA,
    )
    metrics = _objective_metrics(rollout, scored, scores_B, paid_B, kl_coef) | sampler_gap(
        scored.logprobs_BA, rollout.sampler_logprobs_BA, mask_BA
    )
    metrics["ppo/advantages_std"] = advantages_std
    metrics["val/explained_variance"] = _explained_variance(scored.values_BA[mask_BA], returns_BA[mask_BA])
    if scored.spread_B is not None:
        metrics["objective/uncertainty"] = scored.spread_B.mean().item()
        metrics["objective/uncertainty_penalty"] = settings.uncertainty_coef * metrics["objective/uncertainty"]
    return experience, metrics


def importance_weights(logprobs_BA: Tensor, sampler_logprobs_BA: Tensor, mask_BA: Tensor) -> Tensor:
    """(B, A) trainer over sampler probability of each action, not yet truncated; 1 off the mask.

    Kept apart from PPO's ratio: it corrects who computed the number, not which weights did.
    """
    return torch.where(mask_BA, logprobs_BA - sampler_logprobs_BA, 0.0).exp()


def sampler_gap(logprobs_BA: Tensor, sampler_logprobs_BA: Tensor, mask_BA: Tensor) -> dict[str, float]:
    """How far the sampler's log-probabilities are from the trainer's, over actions.

    Returns:
        ``sampler/gap_mean``, ``gap_p99`` and ``gap_max`` of the absolute difference and ``sampler/gap_k3`` (KL of
        sampler to trainer), in nats; ``sampler/ess``, the effective share of the sample after weighting, in (0, 1].
    """
    sampler_N, trainer_N = sampler_logprobs_BA[mask_BA], logprobs_BA[mask_BA]
    gap_N = (trainer_N - sampler_N).abs()
    weights_N = (trainer_N - sampler_N).double().exp()
    return {
        "sampler/gap_mean": gap_N.mean().item(),
        "sampler/gap_p99": gap_N.kthvalue(max(1, int(0.99 * len(gap_N)))).values.item(),
        "sampler/gap_max": gap_N.max().item(),
        "sampler/gap_k3": kl_k3(sampler_N, trainer_N).mean().item(),
        "sampler/ess": (weights_N.sum().square() / (weights_N.square().sum() * len(weights_N))).item(),
    }


def _last_scalars(model: ScalarModel, ids_BT: Tensor, lengths_B: Tensor, packed: Packed | None) -> Tensor:
    """(B,) the scalar at each row's last real token."""
    last = Positions(torch.arange(len(ids_BT), device=ids_BT.device), lengths_B - 1, lengths_B)  # nothing is predicted
    return model.of_states(states_at(model.trunk, ids_BT, last, packed))


def _objective_metrics(
    rollout: Rollout, scored: Scored, scores_B: Tensor, paid_B: Tensor, kl_coef: float
) -> dict[str, float]:
    """Means over episodes (``objective/``, ``episode/``) and over actions (``ppo/policy/entropy_avg``).

    An episode is empty when its only action is EOS. ``objective/kl`` is the mean of k1: unbiased, not clamped, and
    negative by chance where the policies hardly differ, which ``objective/kl_negative`` (0 or 1) flags;
    ``objective/kl_error`` is its standard error;
    ``objective/length_spearman`` is the rank correlation of length and score.
    """
    kl_B = (scored.logprobs_BA - scored.ref_logprobs_BA).sum(1)
    actions = rollout.completion_tokens_B.sum()
    return {
        "objective/kl": kl_B.mean().item(),
        "objective/kl_error": kl_B.std(correction=0).item() / len(kl_B) ** 0.5,
        "objective/kl_negative": float(kl_B.mean().item() < 0),
        "objective/kl_coef": kl_coef,
        "objective/entropy": -scored.logprobs_BA.sum(1).mean().item(),
        "objective/scores": scores_B.float().mean().item(),
        "objective/length_spearman": rank_correlation(rollout.completion_tokens_B.tolist(), scores_B.tolist()),
        "objective/scores_std": scores_B.float().std(correction=0).item(),
        "objective/non_score_reward": (-kl_coef * kl_B).mean().item(),
        "objective/rlhf_reward": (paid_B - kl_coef * kl_B).mean().item(),
        "ppo/policy/entropy_avg": (scored.entropies_BA.sum() / actions).item(),
        "episode/eos_rate": rollout.finished_B.float().mean().item(),
        "episode/empty_rate": (rollout.finished_B & (rollout.completion_tokens_B == 1)).float().mean().item(),
        "episode/length_tokens": rollout.completion_tokens_B.float().mean().item(),
    }


def _explained_variance(values_N: Tensor, returns_N: Tensor) -> float:
    """1 minus the share of the returns' variance that the values miss; 0 when the returns do not vary."""
    variance = returns_N.var(correction=0)
    if variance == 0:
        return 0.0
    return (1.0 - (returns_N - values_N).var(correction=0) / variance).item()
