"""What a sampler gives and what a sampler is: completions of prompts under one policy version.

Knows the layout of sequences and masks; does not know how tokens are drawn (``rollouts_transformers``,
``rollouts_vllm``), nor rewards. Sampling is at a temperature and untruncated: no top-p, top-k or min-p exists here,
because each scales every importance ratio by the probability mass that it keeps.

Layout: a row of ``input_ids_BT`` is prompt, completion, padding, so that a causal model needs no mask. Anything about
single actions is *action-aligned*: column a of a ``_BA`` tensor is the a-th completion token.

Dimension letters: B episodes, T tokens of the longest sequence, A tokens of the longest completion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from feedback.errors import StageFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Completions of one call, all from one policy version.

    Attributes:
        input_ids_BT: (B, T) int64 prompt, completion (EOS included when it came), padding.
        prompt_tokens_B: (B,) int64 length of the prompt.
        completion_tokens_B: (B,) int64 length of the completion, EOS included; at least 1.
        sampler_logprobs_BA: (B, A) float32 log-probability of each action as the sampler computed it, in nats; 0 in
            padding.
        finished_B: (B,) bool, True where the completion ended with EOS rather than at the length cap.
        policy_version: the version that was pushed last before sampling.
    """

    input_ids_BT: Tensor
    prompt_tokens_B: Tensor
    completion_tokens_B: Tensor
    sampler_logprobs_BA: Tensor
    finished_B: Tensor
    policy_version: int

    @property
    def action_mask_BA(self) -> Tensor:
        """(B, A) bool, True at actions."""
        columns_A = torch.arange(self.sampler_logprobs_BA.shape[1], device=self.completion_tokens_B.device)
        return columns_A < self.completion_tokens_B[:, None]

    def to(self, device: torch.device) -> Rollout:
        """The same rollout on another device."""
        return Rollout(
            input_ids_BT=self.input_ids_BT.to(device),
            prompt_tokens_B=self.prompt_tokens_B.to(device),
            completion_tokens_B=self.completion_tokens_B.to(device),
            sampler_logprobs_BA=self.sampler_logprobs_BA.to(device),
            finished_B=self.finished_B.to(device),
            policy_version=self.policy_version,
        )

    @property
    def lengths_B(self) -> Tensor:
        """(B,) int64 tokens of prompt and completion together."""
        return self.prompt_tokens_B + self.completion_tokens_B

    def completions(self) -> list[list[int]]:
        """Token ids of every completion, EOS included where it came."""
        starts, ends = self.prompt_tokens_B.tolist(), self.lengths_B.tolist()
        return [row[a:b] for row, a, b in zip(self.input_ids_BT.tolist(), starts, ends, strict=True)]


class Sampler(Protocol):
    """Draws completions from the latest weights it was given."""

    def sample(self, prompts: Sequence[Sequence[int]], seed: int, rows: Sequence[int] | None = None) -> Rollout:
        """One completion of each prompt; the same weights, prompts and seed give the same tokens.

        Args:
            prompts: token ids.
            seed: of the random numbers.
            rows: which prompts to complete, in rising order; all by default. A completion does not depend on it.
        """
        ...

    def push(self, policy: PreTrainedModel, version: int) -> None:
        """Take the policy's present weights under this version; what is sampled next comes from nothing older."""
        ...

    def close(self) -> None:
        """Free what the sampler holds."""
        ...


def pack_rollout(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    logprobs: Sequence[Sequence[float]],
    *,
    eos_id: int,
    pad_id: int,
    policy_version: int,
) -> Rollout:
    """Ragged lists as one rollout; every completion is cut after its first EOS.

    Args:
        prompts: token ids.
        completions: sampled token ids, one list a prompt.
        logprobs: the sampler's log-probability of each of them, in nats.
        eos_id: token that ends a completion.
        pad_id: fills rows up; must differ from ``eos_id``.
        policy_version: see ``Rollout``.

    Returns:
        The rollout, on the CPU.

    Raises:
        StageFailed: a completion is empty or a log-probability is missing: a hole would silently become ratio 1.
        ValueError: ``pad_id`` equals ``eos_id``.
    """
    require_distinct_pad(pad_id, eos_id)
    cut = [cut_at_eos(tokens, eos_id) for tokens in completions]
    for row, (tokens, row_logprobs) in enumerate(zip(cut, logprobs, strict=True)):
        if not tokens or len(row_logprobs) < len(tokens):
            raise StageFailed(
                f"sampler gave {len(tokens)} tokens but {len(row_logprobs)} log-probabilities for prompt {row}; "
                "every sampled token needs one"
            )
    width = max(len(p) + len(c) for p, c in zip(prompts, cut, strict=True))
    actions = max(len(c) for c in cut)
    rows = [[*p, *c, *[pad_id] * (width - len(p) - len(c))] for p, c in zip(prompts, cut, strict=True)]
    scored = [[*lp[: len(c)], *[0.0] * (actions - len(c))] for c, lp in zip(cut, logprobs, strict=True)]
    return Rollout(
        input_ids_BT=torch.tensor(rows, dtype=torch.long),
        prompt_tokens_B=torch.tensor([len(p) for p in prompts]),
        completion_tokens_B=torch.tensor([len(c) for c in cut]),
        sampler_logprobs_BA=torch.tensor(scored, dtype=torch.float32),
        finished_B=torch.tensor([c[-1] == eos_id for c in cut]),
        policy_version=policy_version,
    )


def require_one_version(before: int, after: int) -> int:
    """Return the version that every token of a rollout came from.

    Args:
        before: version when sampling began.
        after: version when it ended.

    Raises:
        StageFailed: weights were pushed in the middle, so that one tag would be wrong for some of the tokens.
    """
    if before != after:
        raise StageFailed(f"version {after} was pushed while completions of version {before} were being sampled")
    return after


def cut_at_eos(tokens: Sequence[int], eos_id: int) -> list[int]:
    """The tokens up to and including the first EOS; all of them when there is none."""
    kept = list(tokens)
    return kept[: kept.index(eos_id) + 1] if eos_id in kept else kept


def require_distinct_pad(pad_id: int, eos_id: int) -> None:
    """Refuse a padding token that is also the end token: it would hide every EOS from the loss.

    Raises:
        ValueError: they are the same.
    """
    if pad_id == eos_id:
        raise ValueError(f"pad and EOS are both token {eos_id}; give the tokenizer its own <pad>")
