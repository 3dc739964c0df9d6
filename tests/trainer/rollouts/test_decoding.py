"""Both decoders say what the whole sequence says, token by token, and each policy gets one that can read it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GraniteConfig, PreTrainedConfig, PreTrainedModel, Qwen2Config

from tests.trainer.models.test_packing import CONFIGS, VOCABULARY
from trainer.rollouts import decoding
from trainer.rollouts.decoding import Decoder, LlamaDecoder, ModelDecoder, decoder
from trainer.rollouts.transformers_sampler import left_pad

KNOWN = ("llama", "llama with shared keys", "qwen")
STEPS = 5
SMALL = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCABULARY,
}  # fmt: skip


def build(config: PreTrainedConfig, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    torch.manual_seed(1)
    policy: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval().to(dtype)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)  # norms of 1 would hide a forgotten one
    return policy


def sequences(lengths: list[int]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randint(3, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]


@torch.no_grad()
def decoded(policy: PreTrainedModel, made: type[Decoder] | None, prompts: int, kept: list[int]) -> list[Tensor]:
    """Logits of five steps over given sequences, two of which leave after the second, the others in another order."""
    rows = sequences([prompts + STEPS, 4 + STEPS, 1 + STEPS, 6 + STEPS])
    ids, mask = left_pad([row[:-STEPS] for row in rows], 0)
    reading = decoder(policy, mask, STEPS)
    if made is ModelDecoder:
        reading = ModelDecoder(policy, mask, STEPS)
    assert made is None or isinstance(reading, made)
    positions, alive = (mask.cumsum(1) - 1).clamp(min=0), list(range(len(rows)))
    found = [reading.step(ids, positions)]
    for step in range(STEPS - 1):
        if step == 1:
            reading.keep(torch.tensor(kept))
            alive = kept
        at = [len(rows[row]) - STEPS + step for row in alive]
        tokens = [[rows[row][column]] for row, column in zip(alive, at, strict=True)]
        found.append(reading.step(torch.tensor(tokens), torch.tensor(at)[:, None]))
    return found


@torch.no_grad()
def expected(policy: PreTrainedModel, prompts: int, kept: list[int]) -> list[Tensor]:
    """The same from every row's whole sequence by itself."""
    rows = sequences([prompts + STEPS, 4 + STEPS, 1 + STEPS, 6 + STEPS])
    whole = [policy(input_ids=torch.tensor([row])).logits[0] for row in rows]
    alive = [list(range(len(rows)))] * 2 + [kept] * (STEPS - 2)
    return [
        torch.stack([whole[row][len(rows[row]) - STEPS + step - 1] for row in present])
        for step, present in enumerate(alive)
    ]


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("made", [LlamaDecoder, ModelDecoder])
@pytest.mark.parametrize("longest", [9, 6])
def test_a_token_at_a_time_gives_what_the_whole_sequence_gives(name: str, made: type[Decoder], longest: int) -> None:
    policy = build(CONFIGS[name])
    found, wanted = decoded(policy, made, longest, [3, 0]), expected(policy, longest, [3, 0])
    for step, (ours, whole) in enumerate(zip(found, wanted, strict=True)):
        assert ours.shape == whole.shape
        assert torch.allclose(ours, whole, atol=2e-5), step


def test_prompts_of_one_length_need_no_mask() -> None:
    policy = build(CONFIGS["llama"])
    rows = torch.tensor(sequences([7, 7, 7]))
    reading = decoder(policy, torch.ones(3, 6, dtype=torch.long), 2)
    with torch.no_grad():
        whole = policy(input_ids=rows).logits
        for columns, at in ((slice(0, 6), 5), (slice(6, 7), 6)):
            positions = torch.arange(7)[columns].expand(3, -1)
            assert torch.allclose(reading.step(rows[:, columns], positions), whole[:, at], atol=2e-5)


def test_half_precision_stays_as_near_as_the_models_own_forward() -> None:
    exact = build(CONFIGS["llama"])
    policy = build(CONFIGS["llama"], torch.bfloat16)
    wanted = expected(exact, 9, [3, 0])

    def gap(made: type[Decoder]) -> float:
        found = decoded(policy, made, 9, [3, 0])
        assert all(each.dtype == torch.bfloat16 for each in found)
        return max(float((ours.float() - whole).abs().max()) for ours, whole in zip(found, wanted, strict=True))

    assert 0 < gap(LlamaDecoder) < 2 * gap(ModelDecoder)


@pytest.mark.parametrize(
    "config",
    [
        CONFIGS["gpt-2"],
        GraniteConfig(**SMALL, logits_scaling=2.0),
        Qwen2Config(**SMALL, use_sliding_window=True, sliding_window=4, max_window_layers=0),
    ],
)
def test_what_has_another_form_is_read_by_its_own_forward(config: PreTrainedConfig) -> None:
    policy = build(config)
    found, wanted = decoded(policy, None, 9, [3, 0]), expected(policy, 9, [3, 0])
    assert isinstance(decoder(policy, torch.ones(1, 2, dtype=torch.long), 1), ModelDecoder)
    assert all(torch.allclose(ours, whole, atol=2e-5) for ours, whole in zip(found, wanted, strict=True))


def test_a_policy_in_parts_is_read_by_its_own_forward_which_gathers_them(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, mask = build(CONFIGS["llama"]), torch.ones(1, 2, dtype=torch.long)
    assert isinstance(decoder(policy, mask, 1), LlamaDecoder)
    monkeypatch.setattr(decoding, "is_part", lambda tensor: tensor.ndim == 1)
    assert isinstance(decoder(policy, mask, 1), ModelDecoder)
