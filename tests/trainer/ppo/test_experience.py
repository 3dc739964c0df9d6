"""A scored rollout: every number against a direct computation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainer.maths.advantages import gae
from trainer.maths.logprobs import token_logprobs
from trainer.models.policies import load_policy
from trainer.models.scalar import ScalarModel
from trainer.ppo.experience import (
    importance_weights,
    make_experience,
    sampler_gap,
    score_rollout,
)
from trainer.ppo.guards import Guards
from trainer.rollouts.rollout import Rollout
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.settings.ppo import PpoSettings

PROMPTS = [[1, 20, 30, 40, 50], [1, 60], [1, 70, 80, 90, 100, 110, 120], [1, 33, 44]] * 4


def settings(**changes: object) -> PpoSettings:
    given = {"output": "o", "policy": "p", "prompts": ["q"], "batch_size": 16, "episodes": 16, "minibatches": 2}
    return PpoSettings.model_validate(given | changes)


def sample(policy_dir: Path, temperature: float = 1.0) -> Rollout:
    sampler = TransformersSampler(
        load_policy(policy_dir), eos_id=2, pad_id=0, max_completion_tokens=10, temperature=temperature
    )
    return sampler.sample(PROMPTS, seed=1)


def test_every_pass_equals_the_plain_one_whatever_the_micro_batch(tiny_policy_dir: Path, tiny_reward_dir: Path) -> None:
    rollout = sample(tiny_policy_dir)
    policy, reward = load_policy(tiny_policy_dir), ScalarModel.load(tiny_reward_dir)
    reward.bias.fill_(0.25)
    width = rollout.input_ids_BT.shape[1]
    mask = (torch.arange(width) < rollout.lengths_B[:, None]).long()
    with torch.no_grad():
        logprobs = token_logprobs(policy, rollout.input_ids_BT, mask)
        values = reward(rollout.input_ids_BT, mask)
        scores = reward.score(rollout.input_ids_BT, mask)
    for micro_batch_tokens in (1, 100, 10_000):
        scored = score_rollout(
            rollout,
            policy=policy,
            reference=policy,
            value=reward,
            reward=reward,
            temperature=1.0,
            micro_batch_tokens=micro_batch_tokens,
        )
        assert torch.equal(scored.logprobs_BA, scored.ref_logprobs_BA)
        assert scored.scores_B is not None
        assert torch.allclose(scored.scores_B, scores, atol=1e-5)
        for row, (prompt, actions) in enumerate(
            zip(rollout.prompt_tokens_B.tolist(), rollout.completion_tokens_B.tolist(), strict=True)
        ):
            assert torch.allclose(
                scored.logprobs_BA[row, :actions], logprobs[row, prompt : prompt + actions], atol=1e-4
            )
            # The value of the state before an action is the reward model's score of that prefix.
            assert torch.allclose(
                scored.values_BA[row, :actions], values[row, prompt - 1 : prompt - 1 + actions], atol=1e-4
            )


@pytest.mark.parametrize("micro_batch_tokens", [8192, 50])
def test_packed_figures_equal_padded_ones(
    tiny_policy_dir: Path, tiny_reward_dir: Path, micro_batch_tokens: int
) -> None:
    rollout, policy, reward = sample(tiny_policy_dir), load_policy(tiny_policy_dir), ScalarModel.load(tiny_reward_dir)
    one, other = (
        score_rollout(
            rollout,
            policy=policy,
            reference=policy,
            value=reward,
            reward=reward,
            temperature=0.7,
            micro_batch_tokens=micro_batch_tokens,
            packed=packed,
        )
        for packed in (False, True)
    )
    for name in ("logprobs_BA", "ref_logprobs_BA", "values_BA", "entropies_BA", "scores_B"):
        assert torch.allclose(getattr(one, name), getattr(other, name), atol=2e-5), name
        assert getattr(one, name).abs().sum() > 0


def test_against_itself_the_kl_is_exactly_zero(tiny_policy_dir: Path, tiny_reward_dir: Path) -> None:
    rollout = sample(tiny_policy_dir)
    scored = score_rollout(
        rollout,
        policy=load_policy(tiny_policy_dir),
        reference=load_policy(tiny_policy_dir),
        value=None,
        reward=None,
        temperature=0.7,
        micro_batch_tokens=64,
    )
    _, metrics = make_experience(rollout, scored, torch.zeros(16), settings(), kl_coef=0.5)
    assert metrics["objective/kl"] == 0.0
    assert metrics["objective/non_score_reward"] == 0.0


def test_rewards_reach_the_advantages_with_the_missing_eos_rule(tiny_policy_dir: Path) -> None:
    rollout = sample(tiny_policy_dir)
    policy = load_policy(tiny_policy_dir)
    scored = score_rollout(
        rollout, policy=policy, reference=policy, value=None, reward=None, temperature=1.0, micro_batch_tokens=999
    )
    raw = settings(whiten_advantages=False, missing_eos="replace", missing_eos_penalty=-3.0, gae_lambda=1.0)
    experience, metrics = make_experience(rollout, scored, torch.full((16,), 2.0), raw, kl_coef=0.0)
    expected = torch.where(rollout.finished_B, 2.0, -3.0)
    assert torch.allclose(experience.returns_BA[:, 0], expected)
    assert metrics["objective/scores"] == pytest.approx(2.0)
    assert metrics["objective/rlhf_reward"] == pytest.approx(expected.mean().item())


def test_metrics_are_means_over_real_entries(tiny_policy_dir: Path) -> None:
    rollout = sample(tiny_policy_dir)
    policy = load_policy(tiny_policy_dir)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
    scored = score_rollout(
        rollout, policy=policy, reference=policy, value=None, reward=None, temperature=1.0, micro_batch_tokens=999
    )
    _, metrics = make_experience(rollout, scored, torch.zeros(16), settings(), kl_coef=0.0)
    ln_v = torch.log(torch.tensor(float(policy.config.vocab_size))).item()
    assert metrics["ppo/policy/entropy_avg"] == pytest.approx(ln_v, rel=1e-5)
    assert metrics["objective/entropy"] == pytest.approx(ln_v * metrics["episode/length_tokens"], rel=1e-5)


@pytest.mark.parametrize("model", ["tiny_policy_dir", "stories_dir"])
@pytest.mark.filterwarnings("ignore:.*no padding token")
def test_a_sampler_at_temperature_1_05_trips_the_gauge_and_exact_ones_do_not(
    model: str, request: pytest.FixtureRequest
) -> None:
    directory = request.getfixturevalue(model)
    policy = load_policy(directory)
    gaps = {}
    for temperature in (1.0, 1.05):
        rollout = sample(directory, temperature)
        scored = score_rollout(
            rollout, policy=policy, reference=policy, value=None, reward=None, temperature=1.0, micro_batch_tokens=999
        )
        gaps[temperature] = sampler_gap(scored.logprobs_BA, rollout.sampler_logprobs_BA, rollout.action_mask_BA)
    assert gaps[1.0]["sampler/gap_mean"] < 1e-5
    figures = {"objective/kl": 0.0, "episode/eos_rate": 1.0, "ppo/policy/entropy_avg": 1.0}
    for temperature, alarms in ((1.0, 0.0), (1.05, 2.0)):
        guards = Guards(settings())
        assert guards.check(figures | gaps[temperature]) is None
        assert guards.alarms()["guards/broken"] == alarms, "both rules, in the same iteration"
    assert gaps[1.0]["sampler/ess"] == pytest.approx(1.0, abs=1e-6)
    assert gaps[1.05]["sampler/gap_mean"] > settings().max_sampler_gap
    assert gaps[1.05]["sampler/gap_k3"] > 1e-4
    assert gaps[1.05]["sampler/ess"] < gaps[1.0]["sampler/ess"]


def test_importance_weights_are_one_for_an_exact_sampler_and_truncated_apart_from_the_ratio() -> None:
    mask = torch.tensor([[True, True, False]])
    exact = torch.tensor([[-1.0, -2.0, -9.0]])
    assert importance_weights(exact, exact, mask).tolist() == [[1.0, 1.0, 1.0]]
    off = importance_weights(exact, exact - torch.tensor([[2.0, -0.5, 5.0]]), mask)
    assert off[0].tolist() == pytest.approx([7.389056, 0.6065307, 1.0])


def test_advantages_carry_the_truncated_weight(tiny_policy_dir: Path) -> None:
    rollout = sample(tiny_policy_dir)
    policy = load_policy(tiny_policy_dir)
    scored = score_rollout(
        rollout, policy=policy, reference=policy, value=None, reward=None, temperature=1.0, micro_batch_tokens=999
    )
    shifted = Rollout(
        input_ids_BT=rollout.input_ids_BT,
        prompt_tokens_B=rollout.prompt_tokens_B,
        completion_tokens_B=rollout.completion_tokens_B,
        sampler_logprobs_BA=torch.where(rollout.action_mask_BA, scored.logprobs_BA - 3.0, 0.0),
        finished_B=rollout.finished_B,
        policy_version=0,
    )
    raw = settings(whiten_advantages=False, importance_cap=2.0)
    scores = torch.randn(16, generator=torch.Generator().manual_seed(0))
    plain, _ = make_experience(rollout, scored, scores, raw, kl_coef=0.0)
    weighted, metrics = make_experience(shifted, scored, scores, raw, kl_coef=0.0)
    assert torch.allclose(weighted.advantages_BA, 2.0 * plain.advantages_BA, atol=1e-4)
    assert metrics["sampler/gap_max"] == pytest.approx(3.0, abs=1e-4)


def test_k1_in_the_reward_is_unbiased_for_a_known_bandit() -> None:
    """Two-armed policies with a KL known in closed form: the mean of k1 lies within three standard errors."""
    p, q = torch.tensor([0.7, 0.3]), torch.tensor([0.4, 0.6])
    truth = (p * (p / q).log()).sum().item()
    arms = (torch.rand(20_000, generator=torch.Generator().manual_seed(2)) > 0.7).long()
    k1 = (p.log() - q.log())[arms]
    error = k1.std().item() / 20_000**0.5
    assert abs(k1.mean().item() - truth) < 3 * error


def test_value_model_off_gives_zero_values_and_monte_carlo_advantages(tiny_policy_dir: Path) -> None:
    rollout = sample(tiny_policy_dir)
    policy = load_policy(tiny_policy_dir)
    scored = score_rollout(
        rollout, policy=policy, reference=policy, value=None, reward=None, temperature=1.0, micro_batch_tokens=999
    )
    assert (scored.values_BA == 0).all()
    advantages, returns = gae(scored.values_BA + 1.0, scored.values_BA, rollout.action_mask_BA, gamma=1.0, lam=1.0)
    assert torch.equal(advantages, returns)


def test_empty_answers_negative_kl_and_the_spread_of_advantages_are_measured(tiny_policy_dir: Path) -> None:
    rollout = sample(tiny_policy_dir)
    rollout.input_ids_BT[0, rollout.prompt_tokens_B[0]] = 2
    rollout.completion_tokens_B[0], rollout.finished_B[0] = 1, True
    policy = load_policy(tiny_policy_dir)
    scored = score_rollout(
        rollout, policy=policy, reference=policy, value=None, reward=None, temperature=1.0, micro_batch_tokens=999
    )
    empty = [bool(f) and int(n) == 1 for f, n in zip(rollout.finished_B, rollout.completion_tokens_B, strict=True)]
    scored.ref_logprobs_BA[:] = torch.where(rollout.action_mask_BA, scored.logprobs_BA + 0.1, 0.0)
    _, metrics = make_experience(rollout, scored, torch.zeros(16), settings(), kl_coef=0.0)
    assert empty[0]
    assert metrics["episode/empty_rate"] == pytest.approx(sum(empty) / 16)
    assert metrics["objective/kl"] < 0
    assert metrics["objective/kl_negative"] == 1.0
    assert metrics["ppo/advantages_std"] == 0.0
    _, metrics = make_experience(rollout, scored, torch.arange(16.0), settings(), kl_coef=0.0)
    assert metrics["ppo/advantages_std"] > 1.0
