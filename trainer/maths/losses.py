"""The four losses of the paper, as pure functions of tensors.

Knows formulas, masks and denominators; does not know models, batches, devices or optimizers.

Dimension letters: N completions of all prompts in a batch, K completions of one prompt, P compared pairs,
B sequences, T tokens. Masks are 1 (or True) where an entry counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class ClippedLoss(NamedTuple):
    """A clipped loss with what its clip did.

    Attributes:
        loss: () the sum over counted tokens divided by the denominator.
        clipfrac: () share of counted tokens whose gradient the clip stopped, in [0, 1], under the same denominator.
    """

    loss: Tensor
    clipfrac: Tensor


class PairTerms(NamedTuple):
    """What a labeler model and group weights do to each pair's term of the K-wise loss.

    Attributes:
        weight_P: (P,) factor of the term, beside one over the number of its prompt's pairs.
        scale_P: (P,) factor of the gap inside the sigmoid: how reliable who judged is.
        offset_P: (P,) logits added to it: what who judged leans on beside the rewards.
    """

    weight_P: Tensor
    scale_P: Tensor
    offset_P: Tensor

    def to(self, device: torch.device) -> PairTerms:
        """Return the same terms on another device."""
        return PairTerms(*(tensor.to(device) for tensor in self))


def kwise_loss(rewards_K: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Mean negative log-likelihood of one prompt's comparisons, all K completions in one batch element.

    Args:
        rewards_K: (K,) rewards of the prompt's completions; unitless logits.
        pairs: (chosen, rejected) positions in ``rewards_K``; tied pairs are simply not listed.

    Returns:
        () mean over the listed pairs, in nats; ln 2 when the model cannot tell any pair apart.

    Raises:
        ValueError: no pair is listed (all ties: drop the prompt instead).

    Source: Ouyang et al. 2022, arXiv:2203.02155, eq. 1; ties dropped, so that the divisor is the number of pairs
    kept instead of K choose 2.
    """
    index_P2 = torch.tensor(list(pairs), dtype=torch.long, device=rewards_K.device).reshape(-1, 2)
    prompt_P = torch.zeros(len(index_P2), dtype=torch.long, device=rewards_K.device)
    return kwise_loss_batch(rewards_K, index_P2, prompt_P)


def kwise_loss_batch(rewards_N: Tensor, pairs_P2: Tensor, prompt_P: Tensor, terms: PairTerms | None = None) -> Tensor:
    """Mean over prompts of each prompt's mean pair loss: every prompt has the same weight whatever its K.

    Args:
        rewards_N: (N,) rewards of all completions in the batch, one forward pass each; unitless logits.
        pairs_P2: (P, 2) int64 (chosen, rejected) positions in ``rewards_N``, ties left out.
        prompt_P: (P,) int64 the prompt that each pair belongs to; any labels, gaps allowed.
        terms: of each pair; None is the paper's loss, every labeler alike.

    Returns:
        () mean over the prompts that have at least one pair, in nats.

    Raises:
        ValueError: there is no pair at all, or the shapes do not belong together.

    Source: Ouyang et al. 2022, arXiv:2203.02155, eq. 1 and footnote 5.
    """
    if pairs_P2.ndim != 2 or pairs_P2.shape[1] != 2 or prompt_P.shape != pairs_P2.shape[:1]:
        raise ValueError(f"pairs {tuple(pairs_P2.shape)} and prompts {tuple(prompt_P.shape)} must be (P, 2) and (P,)")
    if not len(pairs_P2):
        raise ValueError("no pair to learn from: drop prompts whose completions are all tied")
    weights_P, prompts = pair_weights(prompt_P)
    gaps_P = pair_gaps(rewards_N, pairs_P2)
    if terms is not None:
        gaps_P, weights_P = terms.scale_P * gaps_P + terms.offset_P, weights_P * terms.weight_P
    losses_P = -F.logsigmoid(gaps_P)
    return (losses_P * weights_P).sum() / prompts


def pair_gaps(rewards_N: Tensor, pairs_P2: Tensor) -> Tensor:
    """Chosen minus rejected reward of every pair.

    Args:
        rewards_N: (N,) rewards; unitless logits.
        pairs_P2: (P, 2) int64 (chosen, rejected) positions.

    Returns:
        (P,) float32 gaps, in logits; positive where the model agrees with the label.
    """
    return rewards_N[pairs_P2[:, 0]].float() - rewards_N[pairs_P2[:, 1]].float()


def pair_weights(prompt_P: Tensor) -> tuple[Tensor, int]:
    """One over the number of pairs that each pair's prompt keeps, and how many prompts there are.

    Args:
        prompt_P: (P,) int64 prompt of every pair.

    Returns:
        (P,) float32 weights that sum to 1 within each prompt, and the number of distinct prompts.
    """
    _, inverse_P, counts = torch.unique(prompt_P, return_inverse=True, return_counts=True)
    return counts[inverse_P].float().reciprocal(), len(counts)


def language_model_loss(logprobs_BT: Tensor, mask_BT: Tensor, tokens: Tensor | float | None = None) -> Tensor:
    """Mean negative log-likelihood of the counted tokens.

    Args:
        logprobs_BT: (B, T) log-probability of each token given those before it, in nats.
        mask_BT: (B, T) 1 where the token is a target.
        tokens: denominator; the number of counted tokens here when None. Give the minibatch's count when this is
            one of several micro-batches, so that their losses add up to the minibatch's mean.

    Returns:
        () nats per token.

    Source: the pretraining term of Ouyang et al. 2022, arXiv:2203.02155, eq. 2, per token.
    """
    return _masked_sum(-logprobs_BT, mask_BT) / _denominator(mask_BT, tokens)


def policy_loss(
    logprobs_BT: Tensor,
    old_logprobs_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    *,
    clip: float,
    tokens: Tensor | float | None = None,
) -> ClippedLoss:
    """PPO's clipped surrogate, negated so that it is minimised.

    Args:
        logprobs_BT: (B, T) log-probabilities of the actions under the policy being trained, in nats.
        old_logprobs_BT: (B, T) the same under the policy that the iteration began with; no gradient.
        advantages_BT: (B, T) advantages, in reward units (or standard deviations once whitened); no gradient.
        mask_BT: (B, T) 1 at action tokens.
        clip: half-width of the interval around 1 that the probability ratio may use, e.g. 0.2.
        tokens: denominator; see ``language_model_loss``.

    Returns:
        The loss per action token, and the share of tokens at which the clipped branch was the larger one.

    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 7.
    """
    mask_BT = mask_BT.bool()
    log_ratio_BT = torch.where(mask_BT, logprobs_BT - old_logprobs_BT, 0.0)
    advantages_BT = torch.where(mask_BT, advantages_BT, 0.0)
    ratio_BT = log_ratio_BT.exp()
    plain_BT = -advantages_BT * ratio_BT
    clipped_BT = -advantages_BT * ratio_BT.clamp(1.0 - clip, 1.0 + clip)
    denominator = _denominator(mask_BT, tokens)
    loss = _masked_sum(torch.maximum(plain_BT, clipped_BT), mask_BT) / denominator
    clipfrac = _masked_sum((clipped_BT > plain_BT).float(), mask_BT) / denominator
    return ClippedLoss(loss, clipfrac.detach())


def value_loss(
    values_BT: Tensor,
    old_values_BT: Tensor,
    returns_BT: Tensor,
    mask_BT: Tensor,
    *,
    clip: float,
    tokens: Tensor | float | None = None,
) -> ClippedLoss:
    """Half the squared error of the values, which may move at most ``clip`` from the old ones.

    Args:
        values_BT: (B, T) values of the states in which the actions were taken, in reward units.
        old_values_BT: (B, T) the same when the rollout was scored; no gradient.
        returns_BT: (B, T) targets, in reward units; no gradient.
        mask_BT: (B, T) 1 at action tokens.
        clip: half-width of the interval around the old value, in reward units.
        tokens: denominator; see ``language_model_loss``.

    Returns:
        The loss per action token in squared reward units, and the share of tokens at which the clipped error was
        the larger one.

    Source: openai/lm-human-preferences (2019), the PPO value loss with its factor 0.5.
    """
    mask_BT = mask_BT.bool()
    values_BT = torch.where(mask_BT, values_BT, 0.0)
    old_BT = torch.where(mask_BT, old_values_BT, 0.0)
    returns_BT = torch.where(mask_BT, returns_BT, 0.0)
    near_BT = values_BT.clamp(old_BT - clip, old_BT + clip)  # the very value where the clip leaves it alone
    plain_BT = (values_BT - returns_BT).square()
    clipped_BT = (near_BT - returns_BT).square()
    denominator = _denominator(mask_BT, tokens)
    loss = 0.5 * _masked_sum(torch.maximum(plain_BT, clipped_BT), mask_BT) / denominator
    clipfrac = _masked_sum((clipped_BT > plain_BT).float(), mask_BT) / denominator
    return ClippedLoss(loss, clipfrac.detach())


def _masked_sum(entries_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Sum over counted entries in float32; what is not counted may hold anything, NaN included."""
    return torch.where(mask_BT.bool(), entries_BT.float(), 0.0).sum()


def _denominator(mask_BT: Tensor, tokens: Tensor | float | None) -> Tensor | float:
    if tokens is not None:
        return tokens
    return mask_BT.sum().clamp(min=1)
