"""Layers of Llama's form give what transformers gives, and the last one gives few tokens what it gives all of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm, apply_rotary_pos_emb

from tests.trainer.models.test_packed_attention import layout
from tests.trainer.models.test_packing import CONFIGS, VOCABULARY, build
from trainer.data.packed import Packed
from trainer.models.llama_layers import Turns, has_llama_layers, mlp, rms_norm, turned
from trainer.models.packing import packed_hidden

KNOWN = ("llama", "llama with shared keys", "qwen")


def gradients(model: PreTrainedModel, found: Tensor) -> list[Tensor | None]:
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(2), dtype=found.dtype)
    model.zero_grad()
    (found * weights).sum().backward()
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def alike(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.allclose(one, other, rtol=1e-5, atol=1e-6 * float(other.abs().max().clamp(min=1)))


def rows_of_last_mlp(model: PreTrainedModel, row: Packed, place_M: Tensor) -> int:
    seen: list[int] = []
    hook = model.layers[-1].mlp.register_forward_hook(
        lambda _, inputs, output: seen.append(inputs[0].flatten(0, -2).shape[0])
    )
    packed_hidden(model, row, place_M)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("shared", [True, False])
def test_few_tokens_get_what_they_get_among_all(name: str, shared: bool) -> None:
    model, row = build(CONFIGS[name]), layout(shared=shared)
    for place_M in (torch.randperm(len(row.input_ids_N))[:20], row.last_S):
        found, expected = packed_hidden(model, row, place_M), packed_hidden(model, row)[place_M]
        assert torch.allclose(found, expected, atol=1e-5)
        pairs = zip(gradients(model, found), gradients(model, expected), strict=True)
        assert all(alike(ours, theirs) for ours, theirs in pairs)


def test_the_rest_of_the_row_is_spared_its_queries_and_its_mlp() -> None:
    model, row = build(CONFIGS["llama"]), layout(shared=False)
    assert rows_of_last_mlp(model, row, torch.tensor([7, 2, 30])) == 3
    nearly_all = torch.arange(len(row.input_ids_N) - 1)
    assert rows_of_last_mlp(model, row, nearly_all) == len(row.input_ids_N), "choosing would cost more than it saves"


def test_adapters_count() -> None:
    model, row = build(CONFIGS["llama"]), layout(shared=False)
    place_M = torch.tensor([1, 8, 3])
    plain = packed_hidden(model, row, place_M).detach()
    adapted: Any = get_peft_model(model, LoraConfig(target_modules=["q_proj", "up_proj"]))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    found = packed_hidden(model, row, place_M)
    assert not torch.allclose(found, plain, atol=1e-3)
    assert torch.allclose(found, packed_hidden(model, row)[place_M], atol=1e-5)


def test_the_layers_are_left_as_it_was_even_after_an_error() -> None:
    model = build(CONFIGS["llama"])
    with pytest.raises(IndexError):
        packed_hidden(model, Packed.of_sequences([[1, 2, VOCABULARY + 3]]), torch.tensor([2]))
    assert not any("forward" in vars(layer) for layer in model.layers)


@pytest.mark.parametrize("name", sorted(CONFIGS.keys() - set(KNOWN)))
def test_other_architectures_run_as_they_are(name: str) -> None:
    model, row = build(CONFIGS[name]), layout(shared=False)
    assert not has_llama_layers(model)
    place_M = torch.tensor([4, 0, 9])
    assert torch.allclose(packed_hidden(model, row, place_M), packed_hidden(model, row)[place_M], atol=1e-6)


def test_the_norm_and_its_gradients_are_those_of_transformers() -> None:
    torch.manual_seed(1)
    module, rows_ND = LlamaRMSNorm(6, eps=1e-3), torch.randn(5, 6, requires_grad=True)
    module.weight.data.normal_()
    weights_ND = torch.randn(5, 6)
    found = [
        torch.autograd.grad((norm * weights_ND).sum(), (rows_ND, module.weight), retain_graph=True)
        for norm in (rms_norm(rows_ND, module), module(rows_ND))
    ]
    assert torch.allclose(rms_norm(rows_ND, module), module(rows_ND), atol=1e-6)
    assert all(torch.allclose(ours, theirs, atol=1e-6) for ours, theirs in zip(*found, strict=True))


def test_the_norms_gradient_is_its_difference_quotient() -> None:
    torch.manual_seed(1)
    module = LlamaRMSNorm(6, eps=1e-3).double()
    rows_ND = (3 * torch.randn(4, 6, dtype=torch.float64) + 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: rms_norm(rows, module), (rows_ND,))


@pytest.mark.parametrize("activation", ["silu", "gelu"])
def test_the_mlp_without_gradients_is_the_one_with(activation: str) -> None:
    torch.manual_seed(1)
    module = LlamaMLP(LlamaConfig(hidden_size=32, intermediate_size=48, hidden_act=activation))
    rows_ND = torch.randn(5, 32)
    before_ND = rows_ND.clone()
    expected_ND = module(rows_ND)
    with torch.no_grad():
        found_ND = mlp(rows_ND, module)
    assert torch.equal(found_ND, expected_ND)
    assert torch.equal(rows_ND, before_ND)


@pytest.mark.parametrize("heads", [4, 2])
def test_positions_turn_as_transformers_turns_and_back(heads: int) -> None:
    torch.manual_seed(1)
    tokens, entries = 7, 6
    angles_NE = torch.rand(tokens, entries // 2, dtype=torch.float64).repeat(1, 2)
    cos_1NE, sin_1NE = angles_NE.cos()[None], angles_NE.sin()[None]
    rows_ND = torch.randn(tokens, heads * entries, dtype=torch.float64, requires_grad=True)
    turns = Turns.of(cos_1NE, sin_1NE, 4)
    rows_1HNE = rows_ND.view(1, tokens, heads, entries).transpose(1, 2)
    expected_1HNE, _ = apply_rotary_pos_emb(rows_1HNE, rows_1HNE, cos_1NE, sin_1NE)
    assert torch.allclose(turned(rows_ND, turns, entries), expected_1HNE[0].transpose(0, 1))
    assert torch.autograd.gradcheck(lambda rows: turned(rows, turns, entries), (rows_ND,))
    some = torch.tensor([5, 2])
    assert torch.equal(turned(rows_ND[some], turns.at(some), entries), turned(rows_ND, turns, entries)[some])


def test_no_tokens_are_no_states() -> None:
    model, row = build(CONFIGS["llama"]), layout(shared=False)
    assert packed_hidden(model, row, torch.tensor([], dtype=torch.long)).shape == (0, 32)
