"""Sampling with the transformers model itself: one prefill, then one token a step for all live rows.

For models so small that an inference engine costs more than it gives, and for a greedy reference decode. Knows left
padding and the random numbers; does not know how logits come about (`trainer.rollouts.decoding`), rewards or training.

Random numbers: row b of step t uses one uniform number drawn from a generator seeded by the call, whether or not other
rows have finished or are decoded here at all, so a completion depends on its row and seed only (up to floating point).

Dimension letters: B rows still running, P tokens of the longest prompt, Q tokens that a step reads, S steps, V
vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from trainer.models.adapters import merged
from trainer.rollouts.decoding import decoder
from trainer.rollouts.rollout import Rollout, pack_rollout, require_distinct_pad, require_one_version

COMPACT_BELOW = 0.75
"""Share of running rows under which finished ones are taken out of the cache: a copy, so not after every EOS."""


class TransformersSampler:
    """Samples from the very module it is given, so that a push copies nothing (but matrices with adapters).

    Args:
        policy: causal language model; it is read at every call, in eval mode.
        eos_id: token that ends a completion.
        pad_id: fills short rows; must differ from ``eos_id``.
        max_completion_tokens: length cap; a completion that reaches it without EOS is unfinished.
        min_completion_tokens: EOS is not taken before so many tokens.
        temperature: of the logits; 0 is greedy.
        batch_size: rows decoded at once; 0 takes all.
    """

    def __init__(
        self,
        policy: PreTrainedModel,
        *,
        eos_id: int,
        pad_id: int,
        max_completion_tokens: int,
        min_completion_tokens: int = 0,
        temperature: float = 1.0,
        batch_size: int = 0,
    ) -> None:
        require_distinct_pad(pad_id, eos_id)
        self._version = 0
        self._policy = policy
        self._eos_id, self._pad_id = eos_id, pad_id
        self._max_completion_tokens = max_completion_tokens
        self._min_completion_tokens = min_completion_tokens
        self._temperature = temperature
        self._batch_size = batch_size

    def push(self, policy: PreTrainedModel, version: int) -> None:
        """Sample from this module from now on; from one with its adapters merged, which is faster, if it has some."""
        self._policy, self._version = merged(policy), version

    def close(self) -> None:
        """Hold nothing."""

    @torch.no_grad()
    def sample(self, prompts: Sequence[Sequence[int]], seed: int, rows: Sequence[int] | None = None) -> Rollout:
        """One completion of each prompt; see ``Sampler``."""
        generator, version = torch.Generator().manual_seed(seed), self._version
        chosen = range(len(prompts)) if rows is None else rows
        step = self._batch_size or len(prompts)
        completions: list[list[int]] = []
        logprobs: list[list[float]] = []
        training = self._policy.training
        self._policy.eval()
        try:
            for start in range(0, len(prompts), step):
                uniform_SB = self._uniform(len(prompts[start : start + step]), generator)
                mine = [row for row in chosen if start <= row < start + step]
                if not mine:
                    continue
                tokens, scores = self._decode(
                    [prompts[row] for row in mine], uniform_SB[:, [row - start for row in mine]]
                )
                completions += tokens
                logprobs += scores
        finally:
            self._policy.train(training)
        return pack_rollout(
            [prompts[row] for row in chosen],
            completions,
            logprobs,
            eos_id=self._eos_id,
            pad_id=self._pad_id,
            policy_version=require_one_version(version, self._version),
        )

    def _uniform(self, rows: int, generator: torch.Generator) -> Tensor:
        """(S, B) the numbers in [0, 1) of a batch, a row of them for every step there can be."""
        return torch.stack([torch.rand(rows, generator=generator) for _ in range(self._max_completion_tokens)])

    def _decode(
        self, prompts: Sequence[Sequence[int]], uniform_SB: Tensor
    ) -> tuple[list[list[int]], list[list[float]]]:
        """Token ids and log-probabilities of one batch; rows end at EOS, longer tails are cut by ``pack_rollout``."""
        device = self._policy.device
        ids_BQ, mask_BP = (each.to(device) for each in left_pad(prompts, self._pad_id))
        position_BQ, position_B = (mask_BP.cumsum(1) - 1).clamp(min=0), mask_BP.sum(1)
        uniform_SB = uniform_SB.to(device)
        rows_B = torch.arange(len(prompts), device=device)
        running_B = torch.ones(len(prompts), dtype=torch.bool, device=device)
        chosen = torch.full((self._max_completion_tokens, len(prompts)), self._eos_id, device=device)
        scores = torch.zeros(self._max_completion_tokens, len(prompts), device=device)
        reading = decoder(self._policy, mask_BP, self._max_completion_tokens)
        for step in range(self._max_completion_tokens):
            logits_BV = reading.step(ids_BQ, position_BQ)
            if step < self._min_completion_tokens:
                logits_BV[:, self._eos_id] = -torch.inf
            token_B, logprob_B = draw(logits_BV, uniform_SB[step, rows_B], self._temperature)
            chosen[step, rows_B] = torch.where(running_B, token_B, self._eos_id)
            scores[step, rows_B] = logprob_B
            running_B = running_B & (token_B != self._eos_id)
            alive = int(running_B.sum())
            if not alive:
                break
            if alive < COMPACT_BELOW * len(running_B):
                keep_K = running_B.nonzero().squeeze(1)
                reading.keep(keep_K)
                rows_B, token_B, running_B = rows_B[keep_K], token_B[keep_K], running_B[keep_K]
                position_B = position_B[keep_K]
            ids_BQ, position_BQ = token_B[:, None], position_B[:, None]
            position_B = position_B + 1
        return chosen[: step + 1].T.tolist(), scores[: step + 1].T.tolist()


def draw(logits_BV: Tensor, uniform_B: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """One token a row by inverting the cumulative distribution, or the likeliest one at temperature 0.

    Args:
        logits_BV: (B, V) logits of the next token.
        uniform_B: (B,) numbers in [0, 1).
        temperature: divides the logits; 0 is greedy.

    Returns:
        (B,) int64 tokens and (B,) float32 log-probabilities under the distribution drawn from, in nats (under
        temperature 1 when greedy).
    """
    logprobs_BV = torch.log_softmax(logits_BV.float() / (temperature or 1.0), -1)
    if temperature == 0:
        token_B = logits_BV.argmax(-1)
    else:
        cumulative_BV = logprobs_BV.exp().cumsum(-1)
        # Scaled by the last entry, because the sum of float32 probabilities is not quite 1.
        target_B1 = uniform_B[:, None] * cumulative_BV[:, -1:]
        token_B = torch.searchsorted(cumulative_BV, target_B1, right=True).squeeze(1)
        token_B = token_B.clamp(max=logits_BV.shape[-1] - 1)
    return token_B, logprobs_BV.gather(-1, token_B[:, None]).squeeze(1)


def left_pad(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Prompts as one (B, P) rectangle that ends together, and its mask (1 at real tokens).

    Raises:
        ValueError: there is no prompt, or one is empty.
    """
    if not prompts or not all(prompts):
        raise ValueError("every prompt needs at least one token to be continued")
    width = max(map(len, prompts))
    ids_BP = torch.full((len(prompts), width), pad_id)
    mask_BP = torch.zeros(len(prompts), width, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids_BP[row, width - len(prompt) :] = torch.tensor(prompt)
        mask_BP[row, width - len(prompt) :] = 1
    return ids_BP, mask_BP
