"""A last layer that runs for few tokens gives them what it gives them among all, and the same gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from tests.trainer.models.test_packed_attention import layout
from tests.trainer.models.test_packing import CONFIGS, VOCABULARY, build
from trainer.data.packed import Packed
from trainer.models.last_layer import can_read_few
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
    hook = model.layers[-1].mlp.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0].shape[1]))
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


def test_the_layer_is_left_as_it_was_even_after_an_error() -> None:
    model = build(CONFIGS["llama"])
    with pytest.raises(IndexError):
        packed_hidden(model, Packed.of_sequences([[1, 2, VOCABULARY + 3]]), torch.tensor([2]))
    assert "forward" not in vars(model.layers[-1])


@pytest.mark.parametrize("name", sorted(CONFIGS.keys() - set(KNOWN)))
def test_other_architectures_run_whole(name: str) -> None:
    model, row = build(CONFIGS[name]), layout(shared=False)
    assert not can_read_few(model)
    place_M = torch.tensor([4, 0, 9])
    assert torch.allclose(packed_hidden(model, row, place_M), packed_hidden(model, row)[place_M], atol=1e-6)
