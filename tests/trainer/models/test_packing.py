"""A packed row gives every token what its sequence gives it alone, and the same gradients."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModel,
    FalconConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedModel,
    Qwen2Config,
)

from feedback.errors import ConfigError
from trainer.data.packed import Packed
from trainer.models.packing import can_pack, packed_hidden

VOCABULARY = 50
_NEOX = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}
_OPT = {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "word_embed_proj_dim": 32}
CONFIGS: dict[str, Any] = {
    "llama": LlamaConfig(**_NEOX, num_key_value_heads=4),
    "llama with shared keys": LlamaConfig(**_NEOX, num_key_value_heads=2),
    "gpt-neox": GPTNeoXConfig(**_NEOX),
    "gpt-2": GPT2Config(**_GPT2),
    "opt": OPTConfig(**_OPT, max_position_embeddings=64),
    "qwen": Qwen2Config(**_NEOX, num_key_value_heads=2),
}


def build(config: Any, *, double: bool = True) -> PreTrainedModel:
    torch.manual_seed(0)
    for key, value in {"vocab_size": VOCABULARY, "initializer_range": 0.3, "pad_token_id": 0}.items():
        setattr(config, key, value)
    model: PreTrainedModel = AutoModel.from_config(config, attn_implementation="sdpa")
    return (model.double() if double else model.float()).eval()


def draw(lengths: list[int], generator: random.Random) -> list[list[int]]:
    return [[generator.randrange(1, VOCABULARY) for _ in range(length)] for length in lengths]


def ragged_groups() -> tuple[list[list[int]], list[list[list[int]]]]:
    """Prompts and Ks of all sizes: a lone completion, an empty completion, an empty prompt, one long, one short."""
    generator = random.Random(1)
    prompts = draw([5, 9, 1, 0, 20, 3, 4], generator)
    lengths = [[3, 8, 1], [2, 2], [4], [6, 2, 6], [1, 12, 5, 7, 1, 2, 3, 4, 9], [0, 2], [0, 0]]
    return prompts, [draw(own, generator) for own in lengths]


def alone(model: PreTrainedModel, sequences: list[list[int]]) -> list[Tensor]:
    return [model(input_ids=torch.tensor([each]), use_cache=False).last_hidden_state[0] for each in sequences]


def packed(model: PreTrainedModel, layout: Packed) -> list[Tensor]:
    hidden_ND = packed_hidden(model, layout)
    return [
        hidden_ND[layout.at(torch.full((length,), number), torch.arange(length))]
        for number, length in enumerate(layout.length_S.tolist())
    ]


def gradients(model: PreTrainedModel, outputs: list[Tensor]) -> list[Tensor]:
    """Of a sum in which every entry of every token of every sequence weighs otherwise."""
    generator = torch.Generator().manual_seed(2)
    weights = [torch.randn(each.shape, generator=generator, dtype=each.dtype) for each in outputs]
    model.zero_grad()
    torch.stack([(each * weight).sum() for each, weight in zip(outputs, weights, strict=True)]).sum().backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("shared", [True, False])
def test_every_token_and_gradient_is_that_of_the_sequence_alone(name: str, shared: bool) -> None:
    model = build(CONFIGS[name])
    assert can_pack(model)
    prompts, completions = ragged_groups()
    sequences = [p + c for p, own in zip(prompts, completions, strict=True) for c in own]
    layout = Packed.of_groups(prompts, completions) if shared else Packed.of_sequences(sequences)
    expected, found = alone(model, sequences), packed(model, layout)
    assert [len(each) for each in found] == [len(each) for each in sequences]
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)  # Llama norms in float32
    for ours, theirs in zip(gradients(model, found), gradients(model, expected), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6 * float(theirs.abs().max().clamp(min=1)))


def test_float32_is_as_near_as_padding_is() -> None:
    model = build(CONFIGS["llama"], double=False)
    prompts, completions = ragged_groups()
    sequences = [p + c for p, own in zip(prompts, completions, strict=True) for c in own]
    with torch.no_grad():
        found, expected = packed(model, Packed.of_groups(prompts, completions)), alone(model, sequences)
    assert all(torch.allclose(ours, theirs, atol=1e-4) for ours, theirs in zip(found, expected, strict=True))


def test_under_autocast_it_runs_in_bfloat16() -> None:
    model = build(CONFIGS["llama"], double=False)
    prompts, completions = ragged_groups()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = packed_hidden(model, Packed.of_groups(prompts, completions))
    rough.float().square().sum().backward()
    exact = packed_hidden(model, Packed.of_groups(prompts, completions))
    assert 0 < float((rough.float() - exact).detach().abs().mean()) < 0.1
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_the_model_is_left_as_it_was_even_after_an_error() -> None:
    model = build(CONFIGS["llama"])
    with pytest.raises(IndexError):
        packed_hidden(model, Packed.of_sequences([[VOCABULARY + 3]]))
    assert model.config._attn_implementation == "sdpa"
    ids = torch.tensor([[1, 2, 3]])
    assert torch.allclose(
        model(input_ids=ids).last_hidden_state[0], packed_hidden(model, Packed.of_sequences([[1, 2, 3]])), atol=1e-5
    )


@pytest.mark.parametrize(
    "config",
    [
        FalconConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=True),
        Gemma2Config(**_NEOX, num_key_value_heads=2, head_dim=8),
        MistralConfig(**_NEOX, num_key_value_heads=2, sliding_window=4),
        Qwen2Config(**_NEOX, num_key_value_heads=2, use_sliding_window=True, sliding_window=4, max_window_layers=1),
    ],
    ids=["alibi", "capped scores", "window", "some layers with a window"],
)
def test_architectures_whose_attention_is_another_are_left_to_padding(config: Any) -> None:
    assert not can_pack(build(config))


def test_another_attention_is_refused_rather_than_taken_for_the_plain_one() -> None:
    config = MistralConfig(**_NEOX, num_key_value_heads=2, sliding_window=4)
    with pytest.raises(ConfigError, match="sliding_window cannot be packed"):
        packed_hidden(build(config), Packed.of_sequences([[1, 2, 3]]))


def test_checkpointed_layers_are_left_to_padding() -> None:
    model = build(CONFIGS["llama"])
    model.gradient_checkpointing_enable()
    assert not can_pack(model)
