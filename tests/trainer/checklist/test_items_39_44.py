"""Items 39 to 44: sampler and trainer are two programs, and must be shown to agree."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from feedback.errors import StageFailed
from tests.trainer.checklist.engine import stand_in
from tests.trainer.checklist.tiny import EOS, PAD, PROMPTS, rollout_of, weights
from trainer.models.policies import load_policy, load_tokenizer, save_policy
from trainer.ppo.experience import importance_weights, make_experience, sampler_gap, score_rollout
from trainer.ppo.guards import Guards
from trainer.ppo.job import PpoJob
from trainer.ppo.ppo import iterate
from trainer.rollouts import weight_transfer
from trainer.rollouts.transformers_sampler import TransformersSampler, draw
from trainer.rollouts.vllm_sampler import VllmSampler
from trainer.settings.ppo import PpoSettings

Settings = Callable[..., PpoSettings]
Job = Callable[[PpoSettings], PpoJob]


@pytest.fixture
def vllm(tiny_policy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The real sampler on the stand-in for an engine."""
    monkeypatch.setitem(sys.modules, "vllm", stand_in())
    for name, value in (("VLLM_CPU_KVCACHE_SPACE", "1"), ("VLLM_LOGGING_LEVEL", "WARNING")):
        monkeypatch.setenv(name, value)
    sampler = VllmSampler(
        load_policy(tiny_policy_dir), load_tokenizer(tiny_policy_dir), max_prompt_tokens=16, max_completion_tokens=8,
        temperature=1.0,
    )  # fmt: skip
    yield sampler
    sampler.close()


def test_item_39_a_sampler_that_differs_is_noticed(ppo_settings: Settings, ppo_job: Job) -> None:
    """Mean, 99th percentile, maximum, k3 and ESS by hand; a sampler at temperature 1.05 trips the alarm at once."""
    trainer = torch.full((1, 200), -1.0)
    off = torch.zeros(1, 200)
    off[0, :4] = torch.tensor([1.0, 0.8, 0.5, -0.5])
    found = sampler_gap(trainer, trainer - off, torch.ones(1, 200, dtype=torch.bool))
    assert found["sampler/gap_mean"] == pytest.approx(2.8 / 200)
    assert found["sampler/gap_max"] == pytest.approx(1.0)
    assert found["sampler/gap_p99"] == pytest.approx(0.5)
    k3 = off.exp() - 1 - off
    assert found["sampler/gap_k3"] == pytest.approx(float(k3.mean()), rel=1e-4)
    weights_N = off.exp()
    assert found["sampler/ess"] == pytest.approx(float(weights_N.sum() ** 2 / (weights_N**2).sum() / 200), rel=1e-5)
    settings = ppo_settings(guard_patience=1, batch_size=16)
    alarms = {}
    for temperature in (1.0, 1.05):
        job = ppo_job(settings)
        assert isinstance(job.sampler, TransformersSampler)
        job.sampler._temperature = temperature
        metrics = iterate(job, settings)
        reason = job.guards.check(metrics)
        alarms[temperature] = (reason, job.guards.alarms()["guards/gap"])
    assert alarms[1.0] == (None, 0.0)
    assert alarms[1.05][1] == 1.0
    assert "sampler and trainer differ by" in str(alarms[1.05][0])
    few = Guards(settings).check({**metrics, "sampler/gap_mean": 0.0, "sampler/ess": 0.9})
    assert "an effective share of 0.9" in str(few)


def test_item_40_truncated_importance_weights_beside_the_ratio(ppo_settings: Settings, tiny_policy_dir: Path) -> None:
    """Weight 1 for an exact sampler; truncated from above only; the gap is logged as it was before truncation."""
    rollout, policy = rollout_of([[20, 21, 22, EOS], [23, 24, EOS]]), load_policy(tiny_policy_dir)
    scored = score_rollout(
        rollout, policy=policy, reference=policy, value=None, reward=None, temperature=1.0, micro_batch_tokens=999
    )
    settings, scores_B = ppo_settings(whiten_advantages=False), torch.tensor([1.0, -2.0])
    mask_BA = rollout.action_mask_BA
    found = {}
    for off in (0.0, 3.0, -0.5):
        rollout.sampler_logprobs_BA.copy_(torch.where(mask_BA, scored.logprobs_BA - off, 0.0))
        found[off] = make_experience(rollout, scored, scores_B, settings, kl_coef=0.0)
    exact = found[0.0][0].advantages_BA
    assert torch.allclose(exact[:, 0], torch.tensor([0.95**3 * 1.0, 0.95**2 * -2.0]), atol=1e-5)
    assert torch.allclose(found[3.0][0].advantages_BA, settings.importance_cap * exact, atol=1e-5)
    assert torch.allclose(found[-0.5][0].advantages_BA, torch.tensor(-0.5).exp() * exact, atol=1e-5)
    assert found[3.0][1]["sampler/gap_max"] == pytest.approx(3.0, abs=1e-5)
    for experience, _ in found.values():
        assert torch.equal(experience.old_logprobs_BA, scored.logprobs_BA)
        assert torch.equal(experience.returns_BA, found[0.0][0].returns_BA)
    poisoned = torch.where(mask_BA, rollout.sampler_logprobs_BA, 50.0)
    assert importance_weights(scored.logprobs_BA, poisoned, mask_BA)[~mask_BA].tolist() == [1.0]


def test_item_41_no_truncated_sampling(ppo_settings: Settings, ppo_job: Job, vllm: Any) -> None:
    """No setting, engine default or sampler cuts the distribution; the mean ratio of sampler and trainer is 1."""
    for name in ("top_p", "top_k", "min_p", "repetition_penalty"):
        with pytest.raises(ValidationError, match=name):
            ppo_settings(**{name: 0.9})
    vllm.sample(PROMPTS, seed=1)
    allowed = {"temperature", "max_tokens", "logprobs", "detokenize", "seed", "stop_token_ids", "ignore_eos"}
    assert all(set(vars(parameters)) <= allowed for parameters in vllm._engine.parameters)
    assert vllm._engine.asked["generation_config"] == "vllm"  # a model directory's own top-p is not taken over
    logits_BV = torch.tensor([[2.0, 1.0, 0.0, -1.0, -3.0]]).expand(4000, 5)
    token_B, logprob_B = draw(logits_BV, (torch.arange(4000) + 0.5) / 4000, 1.0)
    shares = torch.bincount(token_B, minlength=5) / 4000
    assert torch.allclose(shares, logits_BV[0].softmax(-1), atol=1e-3)
    assert torch.allclose(logprob_B, logits_BV.log_softmax(-1).gather(1, token_B[:, None]).squeeze(1))
    settings = ppo_settings(batch_size=16, ptx_coef=0.0)
    job = ppo_job(settings)
    rollout = job.sampler.sample(PROMPTS, seed=1)
    scored = score_rollout(
        rollout, policy=job.learner.policy, reference=job.reference, value=None, reward=None, temperature=1.0,
        micro_batch_tokens=999,
    )  # fmt: skip
    mask_BA = rollout.action_mask_BA
    ratio = importance_weights(scored.logprobs_BA, rollout.sampler_logprobs_BA, mask_BA)[mask_BA].mean()
    assert float(ratio) == pytest.approx(1.0, abs=0.01)


def test_item_42_log_probabilities_of_what_was_drawn_from(vllm: Any, tiny_policy_dir: Path) -> None:
    """vLLM is asked for processed log-probabilities; a missing one is an error, never 0."""
    assert vllm._engine.asked["logprobs_mode"] == "processed_logprobs"
    rollout = vllm.sample(PROMPTS, seed=3)
    assert [parameters.logprobs for parameters in vllm._engine.parameters] == [0] * len(PROMPTS)
    policy = load_policy(tiny_policy_dir)
    scored = score_rollout(
        rollout, policy=policy, reference=policy, value=None, reward=None, temperature=1.0, micro_batch_tokens=999
    )
    assert torch.allclose(scored.logprobs_BA, rollout.sampler_logprobs_BA, atol=1e-4)
    vllm._engine.missing = True
    with pytest.raises(StageFailed, match="no log-probability for sampled token"):
        vllm.sample(PROMPTS, seed=3)
    with pytest.raises(StageFailed, match="every sampled token needs one"):
        rollout_of([[20, 21, EOS]], [[-1.0, -2.0]])


def test_item_43_every_push_is_verified(
    vllm: Any, ppo_settings: Settings, ppo_job: Job, tiny_policy_dir: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A push arrives whole or is refused: bytes, prefix cache, version; greedy answers are those of a fresh load."""
    policy = load_policy(tiny_policy_dir)
    vllm._temperature = 0.0
    before = vllm.sample(PROMPTS, seed=0).completions()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    vllm.push(policy, 4)
    after = vllm.sample(PROMPTS, seed=0)
    save_policy(policy, load_tokenizer(tiny_policy_dir), tmp_path / "fresh")
    fresh = TransformersSampler(
        load_policy(tmp_path / "fresh"), eos_id=EOS, pad_id=PAD, max_completion_tokens=8, temperature=0.0
    )
    assert after.policy_version == 4
    assert after.completions() == fresh.sample(PROMPTS, seed=0).completions() != before
    kept = weights(vllm._engine.model)

    def flip(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        save_file(tensors, path, metadata=metadata)
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(bytes(raw))

    monkeypatch.setattr(weight_transfer, "save_file", flip)
    with pytest.raises(StageFailed, match="damaged on the way"):
        vllm.push(policy, 5)
    assert all(torch.equal(p, kept[name]) for name, p in vllm._engine.model.named_parameters())
    monkeypatch.setattr(weight_transfer, "save_file", save_file)
    vllm._engine.forgets = False
    with pytest.raises(StageFailed, match="prefix cache"):
        vllm.push(policy, 6)
    assert vllm.sample(PROMPTS, seed=0).policy_version == 4
    vllm._engine.version = "3"
    with pytest.raises(StageFailed, match="vLLM answered with version 3, pushed was 4"):
        vllm.sample(PROMPTS, seed=0)
    settings = ppo_settings()
    job = ppo_job(settings)
    iterate(job, settings)
    job.sampler.push = lambda *_: None  # type: ignore[method-assign]
    with pytest.raises(StageFailed, match="answered with version 0, pushed was 1"):
        iterate(job, settings)


def test_item_44_no_completion_mixes_versions(vllm: Any, tiny_policy_dir: Path) -> None:
    """One tag holds for every token of a rollout: weights pushed in the middle of sampling are refused, both named."""
    policy = load_policy(tiny_policy_dir)
    own = TransformersSampler(policy, eos_id=EOS, pad_id=PAD, max_completion_tokens=8, batch_size=3)
    for version, sampler in ((3, own), (5, vllm)):
        sampler.push(policy, version)
        assert sampler.sample(PROMPTS, seed=0).policy_version == version
    other, calls = load_policy(tiny_policy_dir), []

    def swap(*_: object) -> None:
        calls.append(1)
        if len(calls) == 4:
            own.push(other, 9)

    policy.get_output_embeddings().register_forward_hook(swap)
    with pytest.raises(StageFailed, match="version 9 was pushed while completions of version 3"):
        own.sample(PROMPTS, seed=0)
    vllm._engine.during = lambda: vllm.push(other, 9)
    with pytest.raises(StageFailed, match="version 9 was pushed while completions of version 5"):
        vllm.sample(PROMPTS, seed=0)
