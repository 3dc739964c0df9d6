"""The vLLM sampler against a real engine: pushes arrive, log-probabilities agree, damage is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from feedback.errors import StageFailed
from tests.trainer.rollouts import cpu_handles
from trainer.models.actions import action_positions, logprobs_at, to_actions
from trainer.models.adapters import without_adapter
from trainer.models.policies import load_policy, load_tokenizer
from trainer.rollouts.rollout import Rollout
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.rollouts.vllm_sampler import VllmSampler, _sampled_logprobs
from trainer.rollouts.weight_transfer import SharedMemory
from trainer.settings.lora import LoraSettings

REPOSITORY = Path(__file__).parents[3]
PROMPTS = [[1, 20, 30, 40, 50], [1, 60], [1, 70, 80, 90, 100, 110, 120], [1, 33, 44]] * 4


@pytest.fixture(scope="module")
def engine(tiny_policy_dir: Path) -> Iterator[VllmSampler]:
    pytest.importorskip("vllm")
    patch = pytest.MonkeyPatch()
    patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    patch.setenv("PYTHONPATH", f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    for name in ("VLLM_ALLOW_INSECURE_SERIALIZATION", "VLLM_ENABLE_V1_MULTIPROCESSING"):
        patch.setenv(name, "1")  # as the native way sets them, and taken back afterwards
    patch.setattr("trainer.rollouts.vllm_sampler._WORKER", "tests.trainer.rollouts.cpu_handles.Worker")
    for where, name, value in cpu_handles.replacements():
        patch.setattr(where, name, value)
    sampler = VllmSampler(
        load_policy(tiny_policy_dir),
        load_tokenizer(tiny_policy_dir),
        max_prompt_tokens=16,
        max_completion_tokens=16,
        temperature=1.0,
        native=True,
    )
    yield sampler
    sampler.close()
    patch.undo()


@pytest.fixture(params=["shared memory", "native"])
def each_way(engine: VllmSampler, request: pytest.FixtureRequest) -> Iterator[VllmSampler]:
    """The engine, reached by either way; CUDA's part of the native one is played."""
    native = engine._transfer
    if request.param == "shared memory":
        engine._transfer = SharedMemory(engine._engine, engine._directory)
    yield engine
    engine._transfer = native


@torch.no_grad()
def largest_gap(policy: PreTrainedModel, rollout: Rollout) -> float:
    mask = rollout.action_mask_BA
    positions = action_positions(rollout.input_ids_BT, rollout.prompt_tokens_B, mask)
    logprobs = to_actions(logprobs_at(policy, rollout.input_ids_BT, positions, temperature=1.0), mask)
    return (logprobs - rollout.sampler_logprobs_BA).abs().max().item()


@pytest.mark.vllm
def test_every_push_arrives_whole_in_a_model_with_tied_embeddings(each_way: VllmSampler, tiny_policy_dir: Path) -> None:
    engine = each_way
    policy = load_policy(tiny_policy_dir)
    assert policy.config.tie_word_embeddings
    for version in range(3):
        engine.push(policy, version)
        rollout = engine.sample(PROMPTS, seed=version)
        assert rollout.policy_version == version
        assert largest_gap(policy, rollout) < 1e-3
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(version))
    # Without a push the engine still answers with the old weights: the gauge above does see a difference.
    assert largest_gap(policy, engine.sample(PROMPTS, seed=9)) > 0.05


@pytest.mark.vllm
def test_same_seed_same_tokens(engine: VllmSampler, tiny_policy_dir: Path) -> None:
    engine.push(load_policy(tiny_policy_dir), 7)
    first, again, other = (engine.sample(PROMPTS, seed=s).completions() for s in (5, 5, 6))
    assert first == again
    assert first != other
    engine._engine.update_weight_version("somebody's")
    with pytest.raises(StageFailed, match="vLLM answered with version somebody's, pushed was 7"):
        engine.sample(PROMPTS, seed=5)


@pytest.mark.vllm
def test_a_flipped_byte_on_the_way_is_refused(
    each_way: VllmSampler, tiny_policy_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        first = next(iter(tensors))
        save_file(tensors | {first: tensors[first] + 1e-7}, path, metadata=metadata)

    def damaged_address(tensor: torch.Tensor) -> Any:
        none, (raw, *rest) = cpu_handles.reduce_tensor(tensor)
        raw[0] ^= 1
        return none, (raw, *rest)

    policy = load_policy(tiny_policy_dir)
    monkeypatch.setattr("trainer.rollouts.weight_transfer.save_file", damaged)
    monkeypatch.setattr("vllm.distributed.weight_transfer.ipc_engine.reduce_tensor", damaged_address)
    with pytest.raises(StageFailed, match=r"pushing weights of iteration 8.*damaged on the way"):
        each_way.push(policy, 8)
    monkeypatch.undo()
    each_way.push(policy, 9)
    assert largest_gap(policy, each_way.sample(PROMPTS, seed=1)) < 1e-3


@pytest.mark.vllm
def test_greedy_tokens_equal_the_transformers_sampler(engine: VllmSampler, tiny_policy_dir: Path) -> None:
    policy = load_policy(tiny_policy_dir)
    engine.push(policy, 1)
    engine._temperature = 0.0
    try:
        got = engine.sample(PROMPTS, seed=0).completions()
    finally:
        engine._temperature = 1.0
    own = TransformersSampler(policy, eos_id=2, pad_id=0, max_completion_tokens=16, temperature=0.0)
    assert got == own.sample(PROMPTS, seed=0).completions()


@pytest.mark.vllm
def test_adapters_answer_from_the_engine_as_they_do_here(engine: VllmSampler, tiny_policy_dir: Path) -> None:
    policy = load_policy(tiny_policy_dir, lora=LoraSettings(lora_rank=4), seed=2)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in filter(lambda each: each.requires_grad, policy.parameters()):
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    engine.push(policy, 5)
    assert largest_gap(policy, engine.sample(PROMPTS, seed=0)) < 1e-3
    engine._temperature = 0.0
    try:
        got = engine.sample(PROMPTS, seed=0).completions()
    finally:
        engine._temperature = 1.0
    greedy = {"eos_id": 2, "pad_id": 0, "max_completion_tokens": 16, "temperature": 0.0}
    assert got == TransformersSampler(policy, **greedy).sample(PROMPTS, seed=0).completions()
    assert got != TransformersSampler(without_adapter(policy), **greedy).sample(PROMPTS, seed=0).completions()


def test_a_missing_logprob_is_an_error_never_zero() -> None:
    entry = SimpleNamespace(logprob=-1.5)
    assert _sampled_logprobs([4, 5], [{4: entry}, {5: entry}]) == [-1.5, -1.5]
    with pytest.raises(StageFailed, match="token 5 at position 1"):
        _sampled_logprobs([4, 5], [{4: entry}, {6: entry}])
    with pytest.raises(StageFailed, match="0 log-probabilities for 2 tokens"):
        _sampled_logprobs([4, 5], None)


# Tests of the server may have asked for an engine within the process that runs them.
ENGINE_APART = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
STARTED = """
import sys, time
from trainer.models.policies import load_policy, load_tokenizer
from trainer.rollouts.vllm_sampler import VllmSampler
sampler = VllmSampler(load_policy(sys.argv[1]), load_tokenizer(sys.argv[1]), max_prompt_tokens=16,
                      max_completion_tokens=16, temperature=1.0)
print("started", flush=True)
time.sleep(600)
"""


@pytest.mark.vllm
@pytest.mark.slow
def test_an_engine_does_not_outlive_a_trainer_that_was_killed(tiny_policy_dir: Path) -> None:
    trainer = subprocess.Popen(
        [sys.executable, "-c", STARTED, str(tiny_policy_dir)],
        cwd=REPOSITORY,
        env=os.environ | ENGINE_APART,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert trainer.stdout is not None
        assert any(line.strip() == "started" for line in trainer.stdout)
        engines = [each for each in psutil.Process(trainer.pid).children(recursive=True) if each.is_running()]
        assert engines, "the engine has processes of its own"
    finally:
        trainer.kill()
        trainer.wait()
    trainer.stdout.close()
    _, alive = psutil.wait_procs(engines, timeout=10)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
