"""Small inputs that the checklist's tests share: token ids, a model with absolute positions, a PPO job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from trainer.data.reading import Demonstration
from trainer.rollouts.rollout import Rollout, pack_rollout

PAD, BOS, EOS = 0, 1, 2
"""The special tokens of the tiny policy."""
VOCABULARY = 320
PROMPTS = [
    [1, 20, 30, 40, 50], [1, 60], [1, 70, 80, 90, 100, 110, 120], [1, 33, 44], [1, 45], [1, 46, 47], [1, 9, 8, 7],
    [1, 6],
]  # fmt: skip


def demonstration(prompt_ids: list[int], completion_ids: list[int], **changes: Any) -> Demonstration:
    fields: dict[str, Any] = {"id": "d", "messages": [{"role": "user", "content": str(prompt_ids)}], "finished": True}
    return Demonstration(prompt_ids=prompt_ids, completion_ids=completion_ids, **(fields | changes))


def rollout_of(
    completions: Sequence[Sequence[int]], logprobs: Sequence[Sequence[float]] | None = None, version: int = 0
) -> Rollout:
    """Completions of the first prompts, with log-probability -1 where none is given."""
    given = logprobs or [[-1.0] * len(tokens) for tokens in completions]
    prompts = PROMPTS[: len(completions)]
    return pack_rollout(prompts, completions, given, eos_id=EOS, pad_id=PAD, policy_version=version)


def absolute_policy() -> PreTrainedModel:
    """A random GPT-2 whose learned positions matter: rotary ones would hide a constant shift."""
    torch.manual_seed(3)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=96, n_embd=32, n_layer=2, n_head=2, bos_token_id=BOS, eos_token_id=EOS
    )
    model: PreTrainedModel = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        model.transformer.wpe.weight.mul_(30.0)
        model.transformer.wte.weight.mul_(10.0)
    return model


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def norm(tensors: dict[str, Tensor]) -> float:
    return torch.stack([tensor.double().square().sum() for tensor in tensors.values()]).sum().sqrt().item()
