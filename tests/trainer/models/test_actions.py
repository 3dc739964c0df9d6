"""Log-probabilities at chosen positions equal those of the whole model, padding or not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from trainer.maths.logprobs import token_logprobs
from trainer.models.actions import (
    action_positions,
    entropies,
    logits_at,
    logprobs_at,
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
    plain = logits_at(model, ids, positions)
    model.config.logits_scaling = 2.0
    full = logits_at(model, ids, positions)
    assert torch.allclose(plain, full, atol=1e-5)


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
