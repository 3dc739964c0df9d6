"""Rewards and advantages against an O(T^2) reference, poisoned padding and hand-computed cases."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainer.maths.advantages import gae, penalise_missing_eos, token_rewards, whiten

LENGTHS = torch.tensor([5, 1, 3])
MASK = torch.arange(5) < LENGTHS[:, None]


def noise(seed: int) -> Tensor:
    return torch.randn(3, 5, generator=torch.Generator().manual_seed(seed))


def reference_gae(rewards: Tensor, values: Tensor, length: int, gamma: float, lam: float) -> list[float]:
    """The definition, a double sum; the state after the last action is worth 0."""
    r, v = rewards.tolist()[:length], [*values.tolist()[:length], 0.0]
    deltas = [r[t] + gamma * v[t + 1] - v[t] for t in range(length)]
    return [sum((gamma * lam) ** (u - t) * deltas[u] for u in range(t, length)) for t in range(length)]


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 0.0)])
def test_gae_equals_the_quadratic_reference_over_action_tokens(gamma: float, lam: float) -> None:
    rewards, values = noise(0), noise(1)
    advantages, returns = gae(rewards, values, MASK, gamma=gamma, lam=lam)
    for row, length in enumerate(LENGTHS.tolist()):
        expected = reference_gae(rewards[row], values[row], length, gamma, lam)
        assert advantages[row, :length].tolist() == pytest.approx(expected, abs=1e-5)
        assert (advantages[row, length:] == 0).all()
    assert torch.allclose(returns, torch.where(MASK, advantages + values, 0.0))


@pytest.mark.parametrize("poison", [100.0, float("nan")])
def test_poisoned_padding_leaves_advantages_unchanged(poison: float) -> None:
    rewards, values = noise(0), noise(1)
    clean = gae(rewards, values, MASK, gamma=1.0, lam=0.95)
    dirty = gae(torch.where(MASK, rewards, poison), torch.where(MASK, values, poison), MASK, gamma=1.0, lam=0.95)
    assert torch.equal(clean[0], dirty[0])
    assert torch.equal(clean[1], dirty[1])


def test_value_after_the_terminal_action_is_zero() -> None:
    advantages, _ = gae(torch.zeros(1, 2), torch.tensor([[0.0, 3.0]]), torch.ones(1, 2), gamma=1.0, lam=1.0)
    assert advantages[0].tolist() == pytest.approx([0.0, -3.0])


def test_lambda_one_gives_monte_carlo_returns_exactly() -> None:
    rewards = noise(0)
    _, returns = gae(rewards, noise(1), MASK, gamma=1.0, lam=1.0)
    masked = torch.where(MASK, rewards, 0.0)
    assert torch.allclose(returns, torch.where(MASK, masked.flip(1).cumsum(1).flip(1), 0.0), atol=1e-6)


def test_the_score_is_paid_once_on_the_last_action() -> None:
    logprobs, ref, scores = noise(2), noise(3), torch.tensor([1.0, -2.0, 0.5])
    rewards = token_rewards(logprobs, ref, scores, MASK, kl_coef=0.1)
    without = token_rewards(logprobs, ref, torch.zeros(3), MASK, kl_coef=0.1)
    paid = rewards - without
    for row, length in enumerate(LENGTHS.tolist()):
        assert paid[row].nonzero().flatten().tolist() == [length - 1]
        assert paid[row, length - 1].item() == pytest.approx(scores[row].item(), abs=1e-6)
    kl = torch.where(MASK, logprobs - ref, 0.0).sum(1)
    assert torch.allclose(rewards.sum(1), scores - 0.1 * kl, atol=1e-6)


def test_kl_in_the_reward_is_signed_and_per_token() -> None:
    rewards = token_rewards(
        torch.tensor([[-1.0, -2.0]]), torch.tensor([[-2.0, -1.5]]), torch.zeros(1), torch.ones(1, 2), kl_coef=0.5
    )
    assert rewards[0].tolist() == pytest.approx([-0.5, 0.25])


def test_missing_eos_is_replaced_subtracted_or_ignored() -> None:
    scores, finished = torch.tensor([2.0, 2.0]), torch.tensor([True, False])
    assert penalise_missing_eos(scores, finished, mode="replace", penalty=-1.0).tolist() == [2.0, -1.0]
    assert penalise_missing_eos(scores, finished, mode="subtract", penalty=1.5).tolist() == [2.0, 0.5]
    assert penalise_missing_eos(scores, finished, mode="ignore", penalty=9.0).tolist() == [2.0, 2.0]


def test_whitening_counts_masked_entries_only() -> None:
    entries = torch.where(MASK, noise(4), float("nan"))
    white = whiten(entries, MASK)
    counted = white[MASK]
    assert counted.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert counted.std(correction=0).item() == pytest.approx(1.0, abs=1e-4)
    assert (white[~MASK] == 0).all()


def test_reward_whitening_keeps_the_mean() -> None:
    entries = noise(5) + 3.0
    assert whiten(entries, MASK, shift_mean=False)[MASK].mean().item() == pytest.approx(
        entries[MASK].mean().item(), abs=1e-6
    )


def test_two_processes_whiten_as_one_does() -> None:
    entries = noise(6)
    whole = whiten(entries, MASK)
    # A second process's sums, in the order in which whiten asks for them: count, sum, squares around the mean.
    mean = entries[MASK].double().mean()
    other_entries, other_mask = entries[2:], MASK[2:]
    kept = other_entries[other_mask].double()
    others = iter([other_mask.sum().double(), kept.sum(), (kept - mean).square().sum()])
    first = whiten(entries[:2], MASK[:2], sum_across=lambda tensor: tensor + next(others))
    assert torch.allclose(first, whole[:2], atol=1e-6)


def test_a_mask_with_a_gap_or_an_empty_row_is_refused() -> None:
    zeros = torch.zeros(1, 3)
    with pytest.raises(ValueError, match="prefix"):
        gae(zeros, zeros, torch.tensor([[1, 0, 1]]), gamma=1.0, lam=1.0)
    with pytest.raises(ValueError, match="without any action"):
        gae(zeros, zeros, torch.zeros(1, 3), gamma=1.0, lam=1.0)
