"""Log-probabilities at chosen positions equal those of the whole model, padding or not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from trainer.maths import logprobs
from trainer.maths.logprobs import token_logprobs
from trainer.models.actions import (
    action_positions,
    entropies,
    logprobs_at,
    pack,
    statistics_at,
    target_logprobs,
    text_positions,
    to_actions,
)
from trainer.models.policies import load_policy

PROMPTS = torch.tensor([3, 1, 5])
ACTIONS = torch.tensor([2, 4, 1])
MASK = torch.arange(4) < ACTIONS[:, None]


def sequences(padding: int = 0) -> Tensor:
    ids = torch.randint(6, 300, (3, 6 + padding), generator=torch.Generator().manual_seed(0))
    return torch.where(torch.arange(6 + padding) < (PROMPTS + ACTIONS)[:, None], ids, 0)


def test_positions_are_the_states_before_the_actions() -> None:
    ids = sequences()
    positions = action_positions(ids, PROMPTS, MASK)
    expected = [
        (row, prompt - 1 + a, int(ids[row, prompt + a]))
        for row, (prompt, actions) in enumerate(zip(PROMPTS.tolist(), ACTIONS.tolist(), strict=True))
        for a in range(actions)
    ]
    assert list(zip(*(entry.tolist() for entry in positions), strict=True)) == expected


@torch.no_grad()
def test_action_logprobs_equal_the_masked_full_forward(tiny_policy_dir: Path) -> None:
    model = load_policy(tiny_policy_dir)
    ids = sequences()
    positions = action_positions(ids, PROMPTS, MASK)
    mask = (torch.arange(6) < (PROMPTS + ACTIONS)[:, None]).long()
    full = token_logprobs(model, ids, mask, 0.7)
    got = logprobs_at(model, ids, positions, temperature=0.7)
    assert torch.allclose(got, full[positions.row_N, positions.column_N + 1], atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("padding", [0, 7, 31])
def test_right_padding_does_not_change_logprobs(tiny_policy_dir: Path, padding: int) -> None:
    model = load_policy(tiny_policy_dir)
    base = logprobs_at(model, sequences(), action_positions(sequences(), PROMPTS, MASK), temperature=1.0)
    ids = torch.nn.functional.pad(sequences(), (0, padding))
    padded = logprobs_at(model, ids, action_positions(ids, PROMPTS, MASK), temperature=1.0)
    assert torch.allclose(base, padded, atol=1e-5)


@torch.no_grad()
def test_cutting_a_completion_leaves_the_logprobs_before_the_cut(tiny_policy_dir: Path) -> None:
    model = load_policy(tiny_policy_dir)
    ids = sequences()
    whole = to_actions(logprobs_at(model, ids, action_positions(ids, PROMPTS, MASK), temperature=1.0), MASK)
    shorter = torch.arange(4) < torch.tensor([1, 2, 1])[:, None]
    cut = to_actions(logprobs_at(model, ids, action_positions(ids, PROMPTS, shorter), temperature=1.0), shorter)
    assert torch.allclose(torch.where(shorter, whole, 0.0), cut, atol=1e-6)


@torch.no_grad()
def test_models_without_a_plain_head_take_the_full_path() -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=300, n_positions=64)).eval()
    ids = sequences()
    positions = action_positions(ids, PROMPTS, MASK)
    plain = statistics_at(model, ids, positions, temperature=0.7)
    model.config.logits_scaling = 2.0
    full = statistics_at(model, ids, positions, temperature=0.7, packed=pack(ids, PROMPTS + ACTIONS))
    for one, other in zip(plain, full, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_entropy_of_a_uniform_model_is_ln_v_whatever_the_temperature() -> None:
    assert entropies(torch.zeros(3, 512), 1.0).tolist() == pytest.approx([math.log(512)] * 3)
    assert entropies(torch.zeros(1, 512), 0.3).item() == pytest.approx(math.log(512))


def test_bfloat16_logits_are_raised_before_the_softmax() -> None:
    logits = torch.randn(8, 512, generator=torch.Generator().manual_seed(1)) * 3
    targets = torch.arange(8)
    low = target_logprobs(logits.bfloat16(), targets, 1.0)
    assert low.dtype == torch.float32
    assert torch.allclose(low, target_logprobs(logits.bfloat16().float(), targets, 1.0), atol=1e-6)
    assert torch.allclose(low, target_logprobs(logits, targets, 1.0), atol=5e-2)


def test_text_positions_predict_every_token_but_the_first() -> None:
    positions = text_positions(torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([3, 2]))
    assert positions.target_N.tolist() == [6, 7, 9]


def test_scatter_puts_entries_back_and_lets_gradients_through() -> None:
    entries = torch.arange(1.0, 8.0, requires_grad=True)
    filled = to_actions(entries, MASK)
    assert filled.tolist() == [[1, 2, 0, 0], [3, 4, 5, 6], [7, 0, 0, 0]]
    filled[1].sum().backward()
    assert entries.grad is not None
    assert entries.grad.tolist() == [0, 0, 1, 1, 1, 1, 0]


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation made."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else (made,):
            if isinstance(each, Tensor):
                self.numbers = max(self.numbers, each.numel())
        return made


def wide_policy(vocabulary: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config).float()


def test_no_tensor_grows_with_positions_times_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest tensor is a chunk, forward and backward, however many positions are read and however large V is."""
    monkeypatch.setattr(logprobs, "_CHUNK_NUMBERS", 2**17)
    for vocabulary in (512, 32_768):
        model = wide_policy(vocabulary)
        for rows in (8, 32):
            ids = torch.randint(vocabulary, (rows, 33))
            positions = text_positions(ids, torch.full((rows,), 33))
            with Largest() as largest:
                logprobs_N, _ = statistics_at(model, ids, positions, temperature=1.0)
                logprobs_N.sum().backward()
            # A chunk, or a gradient of the weights; the whole block would be 8 (32) rows x 32 positions x V.
            assert largest.numbers == max(2**17, vocabulary * 8), (vocabulary, rows)


@pytest.mark.parametrize("numbers", [4 * 2**20, 5 * 300])
def test_packed_statistics_and_gradients_equal_padded_ones(
    tiny_policy_dir: Path, monkeypatch: pytest.MonkeyPatch, numbers: int
) -> None:
    monkeypatch.setattr(logprobs, "_CHUNK_NUMBERS", numbers)
    ids = sequences(padding=3)
    positions = action_positions(ids, PROMPTS, MASK)
    found: list[tuple[Tensor, Tensor, list[Tensor]]] = []
    for packed in (None, pack(ids, PROMPTS + ACTIONS)):
        model = load_policy(tiny_policy_dir)
        logprobs_N, entropies_N = statistics_at(model, ids, positions, temperature=0.7, packed=packed)
        (logprobs_N.sum() + 0.1 * entropies_N.sum()).backward()
        found.append((logprobs_N, entropies_N, [p.grad for p in model.parameters() if p.grad is not None]))
    (logprobs_one, entropies_one, gradients_one), (logprobs_two, entropies_two, gradients_two) = found
    assert torch.allclose(logprobs_one, logprobs_two, atol=1e-5)
    assert torch.allclose(entropies_one, entropies_two, atol=1e-5)
    assert len(gradients_one) == len(gradients_two) > 10
    scale = max(float(gradient.abs().max()) for gradient in gradients_one)
    for one, two in zip(gradients_one, gradients_two, strict=True):
        assert float((one - two).abs().max()) <= 1e-5 * max(scale, 1.0)
