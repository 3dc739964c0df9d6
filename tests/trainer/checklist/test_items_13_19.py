"""Items 13 to 19: steps, means, advantages and whitening."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainer.checklist.tiny import rollout_of
from trainer.maths.advantages import gae, whiten
from trainer.models.policies import load_policy
from trainer.ppo.experience import make_experience, score_rollout
from trainer.ppo.job import PpoJob
from trainer.ppo.ppo import iterate
from trainer.settings.ppo import PpoSettings

Settings = Callable[..., PpoSettings]
Job = Callable[[PpoSettings], PpoJob]
MASK = torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])


def rewards_and_values() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(3, 4, generator=generator), torch.randn(3, 4, generator=generator)


def reference(rewards_BA: Tensor, values_BA: Tensor, gamma: float, lam: float) -> list[list[float]]:
    """Advantages by the definition: every future delta, the value after the last action being 0."""
    table = []
    for row, length in enumerate(MASK.sum(1).tolist()):
        values = [*values_BA[row, :length].tolist(), 0.0]
        deltas = [float(rewards_BA[row, t]) + gamma * values[t + 1] - values[t] for t in range(length)]
        table.append([sum((gamma * lam) ** (u - t) * deltas[u] for u in range(t, length)) for t in range(length)])
    return table


def poisoned(entries_BA: Tensor, poison: float) -> Tensor:
    return torch.where(MASK, entries_BA, poison)


def test_item_13_minibatches_are_optimizer_steps(ppo_settings: Settings, ppo_job: Job) -> None:
    """Iterations x inner epochs x minibatches steps are really taken, by both optimizers, and so logged."""
    settings = ppo_settings(inner_epochs=2, minibatches=4)
    job = ppo_job(settings)
    counted = {"policy": 0, "value": 0}

    def count(name: str) -> Callable[..., None]:
        def one(*_: object) -> None:
            counted[name] += 1

        return one

    job.learner.policy_optimizer.register_step_post_hook(count("policy"))
    job.learner.value_optimizer.register_step_post_hook(count("value"))
    logged = sum(iterate(job, settings)["ppo/optimizer_steps"] for _ in range(2))
    assert counted == {"policy": 16, "value": 16}
    assert logged == 16


def test_item_14_metrics_are_means_over_real_entries(ppo_settings: Settings, ppo_job: Job) -> None:
    """A uniform model's entropy is ln V, and its ratio 1, however much padding and however many minibatches."""
    settings = ppo_settings(ptx_coef=0.0, lr=1e-12, value_lr=1e-12, minibatches=4, inner_epochs=2)
    job = ppo_job(settings)
    with torch.no_grad():
        for parameter in job.learner.policy.parameters():
            parameter.zero_()
    ln_v = math.log(job.learner.policy.config.vocab_size)
    rollout = rollout_of([[20, 2], [21, 22, 23, 24, 2], [2], [25, 26, 2]] * 2)
    job.sampler.sample = lambda *_, **__: rollout  # type: ignore[method-assign]
    metrics = iterate(job, settings)
    assert metrics["ppo/policy/entropy_avg"] == pytest.approx(ln_v, rel=1e-5)
    assert metrics["objective/entropy"] == pytest.approx(ln_v * 11 / 4, rel=1e-5)
    assert metrics["val/ratio"] == pytest.approx(1.0, abs=1e-4)
    assert metrics["episode/length_tokens"] == pytest.approx(11 / 4)


def test_item_15_advantages_over_actions_only() -> None:
    """Poison in the padding of rewards and values changes nothing; nothing is left in the padding."""
    rewards_BA, values_BA = rewards_and_values()
    clean = gae(rewards_BA, values_BA, MASK, gamma=0.9, lam=0.8)
    for row, truth in enumerate(reference(rewards_BA, values_BA, 0.9, 0.8)):
        assert clean[0][row, : len(truth)].tolist() == pytest.approx(truth, abs=1e-5)
    for poison in (100.0, math.nan):
        dirty = gae(poisoned(rewards_BA, poison), poisoned(values_BA, poison), MASK, gamma=0.9, lam=0.8)
        for first, second in zip(clean, dirty, strict=True):
            assert torch.equal(first, second)
            assert not first[~MASK].any()


def test_item_16_nothing_is_worth_anything_after_the_end() -> None:
    """The last action's advantage is its reward less its value, in full rows and in short ones."""
    rewards_BA, values_BA = rewards_and_values()
    for gamma, lam in ((1.0, 0.95), (0.9, 0.5)):
        advantages_BA, returns_BA = gae(rewards_BA, values_BA, MASK, gamma=gamma, lam=lam)
        for row, length in enumerate(MASK.sum(1).tolist()):
            last = length - 1
            assert float(advantages_BA[row, last]) == pytest.approx(float(rewards_BA[row, last] - values_BA[row, last]))
            assert float(returns_BA[row, last]) == pytest.approx(float(rewards_BA[row, last]))


def test_item_17_no_discount_and_lambda_095_by_default(ppo_settings: Settings, tiny_policy_dir: Path) -> None:
    """Defaults, both reach the estimate, and lambda 1 gives Monte Carlo returns exactly."""
    defaults = PpoSettings.model_fields
    assert (defaults["gamma"].default, defaults["gae_lambda"].default) == (1.0, 0.95)
    rewards_BA, values_BA = rewards_and_values()
    _, returns_BA = gae(rewards_BA, values_BA, MASK, gamma=1.0, lam=1.0)
    to_go_BA = torch.where(MASK, rewards_BA, 0.0).flip(1).cumsum(1).flip(1)
    assert torch.allclose(returns_BA[MASK], to_go_BA[MASK], atol=1e-6)
    rollout = rollout_of([[20, 21, 22, 2], [23, 2], [2]])
    policy = load_policy(tiny_policy_dir)
    scored = score_rollout(
        rollout, policy=policy, reference=policy, value=None, reward=None, temperature=1.0, micro_batch_tokens=999
    )
    settings = ppo_settings(gamma=0.5, gae_lambda=0.25, whiten_advantages=False)
    experience, _ = make_experience(rollout, scored, torch.tensor([8.0, 4.0, 1.0]), settings, kl_coef=0.0)
    assert experience.returns_BA[0].tolist() == pytest.approx([8 / 8**3, 8 / 8**2, 1.0, 8.0])


def test_item_18_whitening_is_masked_and_global() -> None:
    """Biased variance over all actions; two processes that share their sums get one process's numbers."""
    entries_BA = poisoned(rewards_and_values()[0] * 3 + 1, math.nan)
    whole_BA = whiten(entries_BA, MASK)
    real_N = entries_BA[MASK]
    assert torch.allclose(whole_BA[MASK], (real_N - real_N.mean()) / real_N.std(correction=0), atol=1e-6)
    assert not whole_BA[~MASK].any()
    barrier, sums = threading.Barrier(2, timeout=30), [torch.zeros(()), torch.zeros(())]
    parts: dict[int, Tensor] = {}

    def process(rank: int, rows: slice) -> None:
        def sum_across(tensor: Tensor) -> Tensor:
            sums[rank] = tensor
            barrier.wait()
            total = sums[0] + sums[1]
            barrier.wait()
            return total

        parts[rank] = whiten(entries_BA[rows], MASK[rows], sum_across=sum_across)

    threads = [threading.Thread(target=process, args=(rank, rows)) for rank, rows in enumerate((slice(1), slice(1, 3)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.allclose(torch.cat([parts[0], parts[1]]), whole_BA, atol=1e-6)


def test_item_19_reward_whitening_keeps_the_mean(ppo_settings: Settings, tiny_policy_dir: Path) -> None:
    """The mean of the rewards is what it was, their deviation 1; PPO whitens rewards in this way."""
    rewards_BA, _ = rewards_and_values()
    rewards_BA = rewards_BA * 4 + 3
    whitened_BA = whiten(poisoned(rewards_BA, 100.0), MASK, shift_mean=False)
    assert float(whitened_BA[MASK].mean()) == pytest.approx(float(rewards_BA[MASK].mean()), abs=1e-6)
    assert float(whitened_BA[MASK].std(correction=0)) == pytest.approx(1.0, abs=1e-5)
    rollout = rollout_of([[20, 21, 2], [23, 2], [2]])
    policy = load_policy(tiny_policy_dir)
    scored = score_rollout(
        rollout, policy=policy, reference=policy, value=None, reward=None, temperature=1.0, micro_batch_tokens=999
    )
    settings = ppo_settings(whiten_rewards=True, whiten_advantages=False, gae_lambda=1.0)
    experience, _ = make_experience(rollout, scored, torch.tensor([5.0, 3.0, 1.0]), settings, kl_coef=0.0)
    paid = torch.tensor([0.0, 0.0, 5.0, 0.0, 3.0, 1.0])
    scaled = (paid - paid.mean()) / paid.std(correction=0) + paid.mean()
    assert float(experience.returns_BA[:, 0].sum()) == pytest.approx(float(paid.sum()), abs=1e-4)
    assert float(experience.returns_BA[0, 2]) == pytest.approx(float(scaled[2]), abs=1e-5)
