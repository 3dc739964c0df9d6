"""Log-probabilities of tokens, entropies, masked means and estimators of the KL divergence.

Knows logits and masks; does not know rewards, advantages or optimizers.

Dimension letters: B batch, T tokens, V vocabulary, D width, C tokens of a chunk. Masks are 1 where an entry counts.
Everything returned is float32, whatever the model's dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from trainer.maths.positions import position_ids

# Logits of one chunk take at most this many float32 numbers (16 MiB); above it, chunks are recomputed in backward.
_CHUNK_NUMBERS = 4 * 2**20

# Configuration keys of architectures that transform logits after the vocabulary head; these take the plain path.
_LOGIT_TRANSFORMS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


class TokenStatistics(NamedTuple):
    """Log-probability of each token, and entropy of the distribution it was drawn from; (B, T) float32, in nats."""

    logprobs_BT: Tensor
    entropy_BT: Tensor


def token_logprobs(
    model: PreTrainedModel, input_ids_BT: Tensor, attention_mask_BT: Tensor, temperature: float = 1.0
) -> Tensor:
    """Return the log-probability of each token given those before it.

    Args:
        model: causal language model.
        input_ids_BT: (B, T) int64 token ids, padded on either side.
        attention_mask_BT: (B, T) 1 at real tokens; positions count real tokens from 0.
        temperature: logits are divided by it before the softmax, as the sampler does.

    Returns:
        (B, T) float32, in nats: entry t is log p(token t | tokens < t); position 0 is 0. Entries of padding, and of
        the first real token after left padding, carry no meaning: mask them.

    Raises:
        ValueError: temperature is not positive.
    """
    return token_statistics(model, input_ids_BT, attention_mask_BT, temperature, with_entropy=False).logprobs_BT


def token_statistics(
    model: PreTrainedModel,
    input_ids_BT: Tensor,
    attention_mask_BT: Tensor,
    temperature: float = 1.0,
    *,
    with_entropy: bool = True,
) -> TokenStatistics:
    """Return log-probabilities as ``token_logprobs`` does, and entropies from the same forward pass.

    Returns:
        Both (B, T) float32; entropy t is that of the distribution of token t given those before it, without
        gradient; position 0 is 0, and all are 0 if ``with_entropy`` is false.
    """
    if temperature <= 0.0:
        raise ValueError(f"temperature {temperature} must be positive; log-probabilities of greedy choices are all 0")
    targets_BC = input_ids_BT[:, 1:]
    head = plain_head(model)
    if head is None:
        logits_BTV = model(
            input_ids=input_ids_BT,
            attention_mask=attention_mask_BT,
            position_ids=position_ids(attention_mask_BT),
            use_cache=False,
        ).logits
        logprobs_BC, entropy_BC = _statistics(logits_BTV[:, :-1], targets_BC, temperature, with_entropy)
    else:
        hidden_BTD = model.base_model(
            input_ids=input_ids_BT,
            attention_mask=attention_mask_BT,
            position_ids=position_ids(attention_mask_BT),
            use_cache=False,
        ).last_hidden_state
        logprobs_BC, entropy_BC = _chunked(head, hidden_BTD[:, :-1], targets_BC, temperature, with_entropy)
    return TokenStatistics(_behind_zero(logprobs_BC), _behind_zero(entropy_BC))


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy of the softmax over the last dimension, float32, in nats; ln V when uniform."""
    logprobs = logits.float().log_softmax(dim=-1)
    return -(logprobs.exp() * logprobs).sum(dim=-1)


def masked_mean(entries: Tensor, mask: Tensor) -> Tensor:
    """Return the float32 mean of the counted entries; what is not counted may hold anything, NaN included.

    Raises:
        ValueError: nothing is counted.
    """
    mask = mask.bool()
    if not bool(mask.any()):
        raise ValueError("the mean of no entries is undefined")
    return torch.where(mask, entries.float(), 0.0).sum() / mask.sum()


def kl_k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Return log p - log q of tokens drawn from p: unbiased for KL(p || q), of either sign; in nats.

    Source: J. Schulman, "Approximating KL divergence", 2020, estimator k1.
    """
    return logprobs.float() - ref_logprobs.float()


def kl_k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Return half the squared log ratio: biased, never negative, low variance; in nats. Source: as ``kl_k1``."""
    return 0.5 * kl_k1(logprobs, ref_logprobs).square()


def kl_k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Return q/p - 1 - log(q/p): unbiased for KL(p || q), never negative; in nats. Source: as ``kl_k1``."""
    log_ratio = -kl_k1(logprobs, ref_logprobs)
    return torch.expm1(log_ratio) - log_ratio


def in_chunks(work: Callable[..., tuple[Tensor, ...]], numbers: int, *columns: Tensor) -> tuple[Tensor, ...]:
    """Apply ``work`` to a few rows at a time, so that memory does not grow with rows x ``numbers``.

    Where gradients are wanted, chunks are recomputed in backward; where all rows fit into one, they are not.

    Args:
        work: row by row the same, whatever rows come with it; returns one entry a row in each tensor.
        numbers: float32 numbers that ``work`` makes of each row.
        columns: what it takes, all with as many rows.
    """
    per_chunk = max(_CHUNK_NUMBERS // numbers, 1)
    if len(columns[0]) <= per_chunk:
        return work(*columns)
    parts = [
        cast("tuple[Tensor, ...]", checkpoint(work, *chunk, use_reentrant=False, preserve_rng_state=False))
        if torch.is_grad_enabled()
        else work(*chunk)
        for chunk in zip(*(torch.split(column, per_chunk) for column in columns), strict=True)
    ]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _chunked(
    head: torch.nn.Module, hidden_BTD: Tensor, targets_BT: Tensor, temperature: float, with_entropy: bool
) -> tuple[Tensor, Tensor]:
    """Apply the vocabulary head to a few tokens at a time."""

    def statistics(hidden_CD: Tensor, targets_C: Tensor) -> tuple[Tensor, Tensor]:
        return _statistics(head(hidden_CD), targets_C, temperature, with_entropy)

    vocabulary = int(cast(Tensor, head.weight).shape[0])
    logprobs_N, entropy_N = in_chunks(statistics, vocabulary, hidden_BTD.flatten(0, 1), targets_BT.flatten())
    return logprobs_N.view_as(targets_BT), entropy_N.view_as(targets_BT)


def _statistics(logits: Tensor, targets: Tensor, temperature: float, with_entropy: bool) -> tuple[Tensor, Tensor]:
    logits = logits.float()
    if temperature != 1.0:
        logits = logits / temperature
    logprobs = logits.log_softmax(dim=-1)
    chosen = logprobs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    if not with_entropy:
        return chosen, torch.zeros_like(chosen)
    detached = logprobs.detach()
    return chosen, -(detached.exp() * detached).sum(dim=-1)


def plain_head(model: PreTrainedModel) -> torch.nn.Module | None:
    """The vocabulary head, if logits are exactly what it gives on the trunk's output."""
    config = model.config.get_text_config()
    if any(getattr(config, key, None) not in (None, 1, 1.0) for key in _LOGIT_TRANSFORMS):
        return None
    head = model.get_output_embeddings()
    return head if isinstance(head, torch.nn.Linear) and model.base_model is not model else None


def _behind_zero(entries_BC: Tensor) -> Tensor:
    return torch.cat([entries_BC.new_zeros(len(entries_BC), 1), entries_BC], dim=1)
