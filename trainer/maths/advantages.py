"""From scores, values and log-probabilities to per-token rewards, advantages and returns.

Pure tensor functions over *action-aligned* rectangles: column a holds the a-th token that the policy chose, so the
prompt never appears here and the mask of a row is 1 for its first ``length`` columns and 0 after.

Conventions, pinned by tests: the score of a completion is paid on its last action (EOS when it finished); the value in
column a is that of the state in which action a was taken; the value after the last action is 0.

Dimension letters: B episodes, A action tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

MissingEos = Literal["replace", "subtract", "ignore"]
"""What becomes of the score of a completion that was cut before its EOS."""

SumAcrossProcesses = Callable[[Tensor], Tensor]
"""Adds a tensor up over all data-parallel processes; the identity when there is one."""


def penalise_missing_eos(scores_B: Tensor, finished_B: Tensor, *, mode: MissingEos, penalty: float) -> Tensor:
    """Scores after the rule for completions that never said EOS.

    Args:
        scores_B: (B,) reward-model scores, unitless logits.
        finished_B: (B,) bool, True where the completion ended with EOS.
        mode: ``replace`` sets the score of an unfinished completion to ``penalty``; ``subtract`` takes ``penalty``
            off it; ``ignore`` leaves it.
        penalty: in reward units; a score under ``replace`` (usually negative), a deduction under ``subtract``.

    Returns:
        (B,) float32.

    Raises:
        ValueError: unknown mode.

    Source: ``replace`` is Huang et al. 2024, arXiv:2403.17031 (-1); ``subtract`` is TRL's ``missing_eos_penalty``.
    """
    scores_B = scores_B.float()
    if mode == "ignore":
        return scores_B
    if mode == "replace":
        return torch.where(finished_B, scores_B, torch.full_like(scores_B, penalty))
    if mode == "subtract":
        return torch.where(finished_B, scores_B, scores_B - penalty)
    raise ValueError(f"missing-EOS mode {mode!r} is not one of replace, subtract, ignore")


def token_rewards(
    logprobs_BA: Tensor, ref_logprobs_BA: Tensor, scores_B: Tensor, mask_BA: Tensor, *, kl_coef: float
) -> Tensor:
    """Reward of every action: minus ``kl_coef`` times the KL estimate, plus the score on the last action.

    Args:
        logprobs_BA: (B, A) log-probability of each action under the sampling policy, in nats.
        ref_logprobs_BA: (B, A) the same under the frozen reference.
        scores_B: (B,) one score an episode, in reward units.
        mask_BA: (B, A) 1 at actions; a prefix of every row.
        kl_coef: reward units per nat.

    Returns:
        (B, A) float32, 0 where the mask is 0. A row sums to its score minus ``kl_coef`` times its KL.

    Raises:
        ValueError: a row has no action, or its mask is not a prefix.

    Source: Ouyang et al. 2022, arXiv:2203.02155, eq. 2 and section 3.5; the estimator is k1 (signed, unbiased).
    """
    lengths_B = action_lengths(mask_BA)
    kl_BA = torch.where(mask_BA.bool(), logprobs_BA.float() - ref_logprobs_BA.float(), 0.0)
    rewards_BA = -kl_coef * kl_BA
    rows_B = torch.arange(len(lengths_B), device=mask_BA.device)
    rewards_BA[rows_B, lengths_B - 1] += scores_B.float()
    return rewards_BA


def gae(rewards_BA: Tensor, values_BA: Tensor, mask_BA: Tensor, *, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and the returns that the values should have predicted.

    Args:
        rewards_BA: (B, A) per-action rewards.
        values_BA: (B, A) value of the state before each action, in reward units; padding may hold anything.
        mask_BA: (B, A) 1 at actions; a prefix of every row.
        gamma: discount per token; 1 in the paper.
        lam: the trade of bias for variance in [0, 1]; 1 gives Monte Carlo returns exactly.

    Returns:
        Advantages and returns (advantage + value), both (B, A) float32 and 0 where the mask is 0.

    Raises:
        ValueError: a row has no action, or its mask is not a prefix.

    Source: Schulman et al. 2015, arXiv:1506.02438, eq. 16, for an episode that ends after its last action.
    """
    action_lengths(mask_BA)
    keep_BA = mask_BA.bool()
    rewards_BA = torch.where(keep_BA, rewards_BA.float(), 0.0)
    values_BA = torch.where(keep_BA, values_BA.float(), 0.0)
    next_values_BA = torch.nn.functional.pad(values_BA[:, 1:], (0, 1))
    deltas_BA = rewards_BA + gamma * next_values_BA - values_BA
    advantages_BA = torch.zeros_like(deltas_BA)
    carried_B = torch.zeros_like(deltas_BA[:, 0])
    for column in range(deltas_BA.shape[1] - 1, -1, -1):
        carried_B = deltas_BA[:, column] + gamma * lam * carried_B
        advantages_BA[:, column] = carried_B
    advantages_BA = torch.where(keep_BA, advantages_BA, 0.0)
    return advantages_BA, advantages_BA + values_BA


def whiten(
    entries_BA: Tensor, mask_BA: Tensor, *, shift_mean: bool = True, sum_across: SumAcrossProcesses | None = None
) -> Tensor:
    """Entries scaled to unit standard deviation over all counted entries of the *global* batch.

    The variance is the biased one (divides by the count), as in the 2019 code; 1e-8 is added to it.

    Args:
        entries_BA: (B, A) numbers; padding may hold anything.
        mask_BA: (B, A) 1 where an entry counts.
        shift_mean: move the mean to 0 (advantages); when False the mean stays what it was (rewards).
        sum_across: adds tensors up over processes, so that every process scales by the same numbers.

    Returns:
        (B, A) float32, 0 where the mask is 0.
    """
    keep_BA = mask_BA.bool()
    entries_BA = torch.where(keep_BA, entries_BA.float(), 0.0)
    add = sum_across or (lambda tensor: tensor)
    count = add(keep_BA.sum().double()).clamp(min=1)
    mean = add(entries_BA.double().sum()) / count
    centred_BA = torch.where(keep_BA, entries_BA - mean.float(), 0.0)
    variance = add(centred_BA.double().square().sum()) / count
    scaled_BA = centred_BA * (variance + 1e-8).rsqrt().float()
    if not shift_mean:
        scaled_BA = scaled_BA + mean.float()
    return torch.where(keep_BA, scaled_BA, 0.0)


def action_lengths(mask_BA: Tensor) -> Tensor:
    """Number of actions in each row.

    Args:
        mask_BA: (B, A) 1 at actions.

    Returns:
        (B,) int64, at least 1.

    Raises:
        ValueError: a row has no action, or a 1 after a 0: such rows would carry advantages across a gap.
    """
    keep_BA = mask_BA.bool()
    lengths_B = keep_BA.sum(1)
    if bool((lengths_B == 0).any()):
        raise ValueError("an episode without any action cannot be rewarded; drop it from the rollout")
    if bool((keep_BA[:, 1:] & ~keep_BA[:, :-1]).any()):
        raise ValueError("the action mask must be a prefix of every row; align actions to column 0 first")
    return lengths_B
