"""Items 7 to 12: the reward's place, the end of a completion, KL, temperature and the first ratio."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.trainer.checklist.tiny import EOS, PROMPTS, rollout_of, weights
from trainer.maths.advantages import penalise_missing_eos, token_rewards
from trainer.maths.logprobs import token_logprobs
from trainer.models.policies import load_policy
from trainer.models.scalar import ScalarModel
from trainer.ppo.experience import make_experience, score_rollout
from trainer.ppo.job import PpoJob
from trainer.ppo.ppo import iterate
from trainer.rollouts.rollout import cut_at_eos
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.settings.ppo import PpoSettings

Settings = Callable[..., PpoSettings]
Job = Callable[[PpoSettings], PpoJob]


def test_item_07_reward_lands_on_the_eos_action_once(
    ppo_settings: Settings, tiny_policy_dir: Path, tiny_reward_dir: Path
) -> None:
    """Score minus KL is the row's sum, the score stands at EOS; values and advantages equal an O(T^2) reference."""
    rollout = rollout_of([[20, 21, EOS], [EOS], [22, 23, 24, 25, EOS]])
    mask_BA, scores_B = rollout.action_mask_BA, torch.tensor([2.0, -3.0, 0.5])
    generator = torch.Generator().manual_seed(0)
    new_BA, ref_BA = (torch.randn(mask_BA.shape, generator=generator) for _ in range(2))
    plain_BA = token_rewards(new_BA, ref_BA, torch.zeros(3), mask_BA, kl_coef=0.1)
    only_score_BA = token_rewards(new_BA, ref_BA, scores_B, mask_BA, kl_coef=0.1) - plain_BA
    at_eos_BA = torch.zeros(3, 5)
    for row, completion in enumerate(rollout.completions()):
        at_eos_BA[row, completion.index(EOS)] = scores_B[row]
    assert torch.allclose(only_score_BA, at_eos_BA, atol=1e-6)
    kl_B = ((new_BA - ref_BA) * mask_BA).sum(1)
    assert torch.allclose((plain_BA + only_score_BA).sum(1), scores_B - 0.1 * kl_B, atol=1e-5)

    reward, policy = ScalarModel.load(tiny_reward_dir), load_policy(tiny_policy_dir)
    scored = score_rollout(
        rollout, policy=policy, reference=policy, value=reward, reward=None, temperature=1.0, micro_batch_tokens=999
    )
    settings = ppo_settings(whiten_advantages=False, importance_cap=1.0)
    experience, _ = make_experience(rollout, scored, scores_B, settings, kl_coef=0.0)
    weights_BA = torch.where(mask_BA, scored.logprobs_BA + 1.0, 0.0).exp().clamp(max=1.0)
    for row, completion in enumerate(rollout.completions()):
        states = [PROMPTS[row] + completion[:action] for action in range(len(completion))]
        with torch.no_grad():
            values = [float(reward.score(torch.tensor([s]), torch.ones(1, len(s)))) for s in states] + [0.0]
        paid = [0.0] * (len(completion) - 1) + [float(scores_B[row])]
        deltas = [paid[t] + values[t + 1] - values[t] for t in range(len(completion))]
        truth = [sum(0.95 ** (u - t) * deltas[u] for u in range(t, len(deltas))) for t in range(len(deltas))]
        assert experience.old_values_BA[row, : len(deltas)].tolist() == pytest.approx(values[:-1], abs=1e-5)
        found = experience.advantages_BA[row, : len(deltas)] / weights_BA[row, : len(deltas)]
        assert found.tolist() == pytest.approx(truth, abs=1e-4)


def test_item_08_cut_at_the_first_stop_and_pay_for_a_missing_one() -> None:
    """Everything after the first EOS is cut; without one the score is exactly the configured one."""
    assert cut_at_eos([20, EOS, 21, EOS], EOS) == [20, EOS]
    assert cut_at_eos([20, 21], EOS) == [20, 21]
    rollout = rollout_of([[20, EOS, 21, 22], [23, 24, 25, 26], [EOS, EOS]])
    assert rollout.completions() == [[20, EOS], [23, 24, 25, 26], [EOS]]
    assert rollout.finished_B.tolist() == [True, False, True]
    assert rollout_of([[20, 21, 22, EOS], [23, 24]]).finished_B.tolist() == [True, False]
    scores_B = torch.tensor([0.7, 0.7, -0.2])
    paid = {
        mode: penalise_missing_eos(scores_B, rollout.finished_B, mode=mode, penalty=penalty).tolist()
        for mode, penalty in (("replace", -1.0), ("subtract", 1.0), ("ignore", 5.0))
    }
    assert paid["replace"] == pytest.approx([0.7, -1.0, -0.2])
    assert paid["subtract"] == pytest.approx([0.7, -0.3, -0.2])
    assert paid["ignore"] == pytest.approx([0.7, 0.7, -0.2])


@torch.no_grad()
def test_item_09_cutting_does_not_change_log_probabilities(tiny_policy_dir: Path) -> None:
    """What is kept has the log-probability that it has in the uncut sequence; the tail is masked."""
    policy = load_policy(tiny_policy_dir)
    whole = [[20, 21, EOS, 22, 23, 24], [25, 26, 27, 28, 29, 30], [EOS, 31, 32, 33, 34, 35]]
    uncut = [
        token_logprobs(policy, torch.tensor([prompt + tokens]), torch.ones(1, len(prompt + tokens)))[0, len(prompt) :]
        for prompt, tokens in zip(PROMPTS, whole, strict=False)
    ]
    rollout = rollout_of(whole, [row.tolist() for row in uncut])
    scored = score_rollout(
        rollout, policy=policy, reference=policy, value=None, reward=None, temperature=1.0, micro_batch_tokens=999
    )
    for row, kept in enumerate((3, 6, 1)):
        assert rollout.sampler_logprobs_BA[row, :kept].tolist() == uncut[row][:kept].tolist()
        assert scored.logprobs_BA[row, :kept].tolist() == pytest.approx(uncut[row][:kept].tolist(), abs=1e-5)
        assert not scored.logprobs_BA[row, kept:].any()
        assert not rollout.action_mask_BA[row, kept:].any()


def test_item_10_kl_against_a_reference_that_never_moves(ppo_settings: Settings, ppo_job: Job) -> None:
    """0 exactly before the first step, not after; the reference keeps its bits; padding adds nothing."""
    settings = ppo_settings()
    job = ppo_job(settings)
    bits = [hashlib.sha256(p.detach().numpy().tobytes()).hexdigest() for p in job.reference.parameters()]
    first, second = iterate(job, settings), iterate(job, settings)
    assert first["objective/kl"] == 0.0
    assert abs(second["objective/kl"]) > 1e-4
    assert [hashlib.sha256(p.detach().numpy().tobytes()).hexdigest() for p in job.reference.parameters()] == bits
    mask_BA = torch.tensor([[True, True, False], [True, False, False]])
    poison = torch.tensor([[0.0, 0.0, 100.0], [0.0, torch.nan, torch.inf]])
    new_BA, ref_BA = torch.full((2, 3), -1.0) + poison, torch.full((2, 3), -1.5)
    rewards_BA = token_rewards(new_BA, ref_BA, torch.zeros(2), mask_BA, kl_coef=0.2)
    assert rewards_BA.tolist() == [pytest.approx([-0.1, -0.1, 0.0]), pytest.approx([-0.1, 0.0, 0.0])]


def test_item_11_one_temperature_everywhere(ppo_settings: Settings, ppo_job: Job, tiny_policy_dir: Path) -> None:
    """At 0.7: sampler, old, new and reference agree; the first ratio is 1."""
    settings = ppo_settings(temperature=0.7, minibatches=1)
    job = ppo_job(settings)
    metrics = iterate(job, settings)
    assert metrics["sampler/gap_max"] < 1e-5
    assert metrics["val/ratio"] == pytest.approx(1.0, abs=1e-6)
    assert metrics["val/first_max_log_ratio"] < 1e-5
    policy, other = load_policy(tiny_policy_dir), load_policy(tiny_policy_dir)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.9)
    rollout = TransformersSampler(policy, eos_id=EOS, pad_id=0, max_completion_tokens=6, temperature=0.7).sample(
        PROMPTS, seed=1
    )
    scored = score_rollout(
        rollout, policy=policy, reference=other, value=None, reward=None, temperature=0.7, micro_batch_tokens=999
    )
    mask_BT = (torch.arange(rollout.input_ids_BT.shape[1]) < rollout.lengths_B[:, None]).long()
    for model, found_BA in ((policy, scored.logprobs_BA), (other, scored.ref_logprobs_BA)):
        with torch.no_grad():
            logits_BTV = model(input_ids=rollout.input_ids_BT, attention_mask=mask_BT).logits / 0.7
        for row, (start, end) in enumerate(zip(rollout.prompt_tokens_B, rollout.lengths_B, strict=True)):
            truth = logits_BTV[row].log_softmax(-1)[start - 1 : end - 1]
            chosen = truth.gather(-1, rollout.input_ids_BT[row, start:end, None]).squeeze(-1)
            assert torch.allclose(found_BA[row, : end - start], chosen, atol=1e-4)


def test_item_12_the_first_minibatch_has_ratio_one(ppo_settings: Settings, ppo_job: Job) -> None:
    """Below 1e-5 in float32 although sampler and reference differ from the policy; bfloat16 is logged."""
    settings = ppo_settings(minibatches=2)
    job = ppo_job(settings)
    iterate(job, settings)
    sample = job.sampler.sample

    def off(*given: object, **named: object) -> object:
        rollout = sample(*given, **named)  # type: ignore[arg-type]
        rollout.sampler_logprobs_BA.sub_(0.01)
        return rollout

    job.sampler.sample = off  # type: ignore[method-assign,assignment]
    metrics = iterate(job, settings)
    assert metrics["val/first_max_log_ratio"] < 1e-5
    assert metrics["sampler/gap_mean"] == pytest.approx(0.01, abs=1e-4)
    assert metrics["val/ratio"] != 1.0
    before = weights(job.learner.policy)
    half = settings.model_copy(update={"bf16": True, "lr": 1e-9, "value_lr": 1e-9, "warmup_iterations": 0})
    logged = iterate(job, half)["val/first_max_log_ratio"]
    assert 0.0 <= logged < 0.2
    assert all(torch.allclose(p, before[name], atol=1e-6) for name, p in job.learner.policy.named_parameters())
