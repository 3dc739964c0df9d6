"""The sizes of the GPU benchmark: counted parameters, and memory that must fit the device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from benchmarks.gpu_world import EOS, GIB, PAD, REAL, TINY, memory_gib, operations, parameters, write_problem
from trainer.models.policies import load_policy, load_tokenizer
from trainer.models.scalar import ScalarModel

DEVICE_GIB = 139.0


@pytest.mark.parametrize("size", [TINY, REAL])
def test_parameters_are_those_of_the_model(size: object) -> None:
    with torch.device("meta"):
        model = LlamaForCausalLM(size.config())  # type: ignore[attr-defined]
    assert parameters(size) == sum(p.numel() for p in model.parameters())  # type: ignore[arg-type]


def test_the_real_size_is_that_of_the_paper_and_fits_the_device() -> None:
    assert 1.25e9 < parameters(REAL) < 1.4e9
    assert (REAL.batch, REAL.minibatches, REAL.prompt_tokens, REAL.completion_tokens) == (512, 8, 256, 256)
    assert REAL.tokens == 512 * 512
    assert REAL.ptx_tokens == 8 * 512 * 256
    for vllm in (True, False):
        needed = memory_gib(REAL, vllm=vllm)
        assert max(needed.values()) < DEVICE_GIB - 10, "allocators, contexts and what was forgotten"
        assert min(needed.values()) > (4 + 4 + 1 + 2) * 4 * parameters(REAL) / GIB
    # A pass as long as one of TRL's minibatches fits only if activations are computed anew.
    whole = replace(REAL, micro_batch_tokens=REAL.tokens // REAL.minibatches)
    assert memory_gib(whole, vllm=False)["learn"] > DEVICE_GIB


def test_operations_are_two_for_a_parameter_and_token_and_three_times_that_to_learn() -> None:
    found = operations(REAL)
    looked_up = REAL.vocabulary * REAL.width
    assert found["sample"] == 2 * (parameters(REAL) - looked_up) * REAL.tokens
    assert found["score"] == 4 * found["sample"]
    assert found["learn"] == pytest.approx(3 * found["sample"] * (2 + REAL.ptx_tokens / REAL.tokens))


def test_both_sides_are_given_the_same_weights(tmp_path: Path) -> None:
    write_problem(TINY, tmp_path / "problem", torch.device("cpu"))
    written = (tmp_path / "problem" / "policy" / "model.safetensors").stat().st_mtime_ns
    write_problem(TINY, tmp_path / "problem", torch.device("cpu"))
    assert (tmp_path / "problem" / "policy" / "model.safetensors").stat().st_mtime_ns == written
    policy = load_policy(tmp_path / "problem" / "policy")
    assert sum(p.numel() for p in policy.parameters()) == parameters(TINY)
    ours = ScalarModel.load(tmp_path / "problem" / "our-reward")
    theirs = load_file(tmp_path / "problem" / "reward" / "model.safetensors")
    assert torch.equal(ours.head.weight, theirs["score.weight"].float())
    first = next(name for name in theirs if name.endswith("q_proj.weight"))
    assert torch.equal(ours.state_dict()[first.replace("model.", "trunk.", 1)].float(), theirs[first].float())
    tokenizer = load_tokenizer(tmp_path / "problem" / "policy")
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (PAD, EOS)
    assert len((tmp_path / "problem" / "prompts.jsonl").read_text().splitlines()) == 2 * TINY.batch
