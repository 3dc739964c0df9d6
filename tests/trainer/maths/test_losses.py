"""The losses against hand-computed numbers, limits, invariances and finite differences."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from trainer.maths.losses import PairTerms, kwise_loss, kwise_loss_batch, language_model_loss, policy_loss, value_loss


def test_equal_rewards_cost_ln_2() -> None:
    loss = kwise_loss(torch.zeros(4), list(itertools.combinations(range(4), 2)))
    assert loss.item() == pytest.approx(math.log(2))


def test_a_gap_of_minus_a_thousand_is_finite_and_pulls_the_right_way() -> None:
    rewards = torch.tensor([-500.0, 500.0], requires_grad=True)
    loss = kwise_loss(rewards, [(0, 1)])
    loss.backward()
    assert loss.item() == pytest.approx(1000.0)
    assert rewards.grad is not None
    assert rewards.grad.tolist() == pytest.approx([-1.0, 1.0])


def test_each_prompt_weighs_the_same_whatever_its_number_of_pairs() -> None:
    rewards = torch.randn(13, generator=torch.Generator().manual_seed(1))
    four = list(itertools.combinations(range(4), 2))
    nine = [(a + 4, b + 4) for a, b in itertools.combinations(range(9), 2)]
    naive = [
        sum(-torch.nn.functional.logsigmoid(rewards[a] - rewards[b]) for a, b in pairs) / len(pairs)
        for pairs in (four, nine)
    ]
    prompts = torch.tensor([7] * len(four) + [3] * len(nine))
    loss = kwise_loss_batch(rewards, torch.tensor(four + nine), prompts)
    assert loss.item() == pytest.approx(float(sum(naive)) / 2, abs=1e-6)


def test_terms_weigh_prompts_scale_gaps_by_reliability_and_take_leanings_out() -> None:
    rewards = torch.tensor([1.5, 0.5, -1.0], requires_grad=True)
    pairs, prompts = torch.tensor([[0, 1], [1, 2]]), torch.tensor([0, 1])
    terms = PairTerms(torch.tensor([2.0, 0.5]), torch.tensor([1.5, 0.0]), torch.tensor([-0.3, 0.7]))
    loss = kwise_loss_batch(rewards, pairs, prompts, terms)
    expected = (2.0 * math.log1p(math.exp(-(1.5 * 1.0 - 0.3))) + 0.5 * math.log1p(math.exp(-0.7))) / 2
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    loss.backward()
    assert rewards.grad is not None
    assert rewards.grad[2] == 0.0, "nothing is learned from somebody without any reliability"
    one = PairTerms(torch.ones(2), torch.ones(2), torch.zeros(2))
    assert kwise_loss_batch(rewards, pairs, prompts, one) == kwise_loss_batch(rewards, pairs, prompts)


def test_a_dropped_tie_changes_only_the_divisor() -> None:
    rewards = torch.tensor([1.0, 0.0, -2.0])
    both = kwise_loss(rewards, [(0, 1), (0, 2)])
    singles = [kwise_loss(rewards, [pair]) for pair in ((0, 1), (0, 2))]
    assert both.item() == pytest.approx((singles[0] + singles[1]).item() / 2)


def test_no_pair_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="drop prompts"):
        kwise_loss(torch.zeros(3), [])


def test_kwise_gradient_agrees_with_finite_differences() -> None:
    rewards = torch.randn(5, generator=torch.Generator().manual_seed(2)).requires_grad_()
    pairs = [(0, 1), (2, 1), (3, 4), (0, 4)]
    kwise_loss(rewards, pairs).backward()
    assert rewards.grad is not None
    step = 1e-3
    for index in range(5):
        bump = torch.zeros(5)
        bump[index] = step
        slope = (kwise_loss(rewards.detach() + bump, pairs) - kwise_loss(rewards.detach() - bump, pairs)) / (2 * step)
        assert rewards.grad[index].item() == pytest.approx(slope.item(), abs=1e-3)


def test_policy_loss_at_ratio_one_is_minus_the_mean_advantage_and_nothing_is_clipped() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, 9.0]])
    advantages = torch.tensor([[0.5, -1.5, 7.0]])
    mask = torch.tensor([[True, True, False]])
    loss, clipfrac = policy_loss(logprobs, logprobs.clone(), advantages, mask, clip=0.2)
    assert loss.item() == pytest.approx(0.5)
    assert clipfrac.item() == 0.0


def test_policy_gradient_stops_where_the_clip_binds() -> None:
    old = torch.zeros(1, 4)
    new = torch.log(torch.tensor([[1.5, 1.5, 0.5, 0.5]])).requires_grad_()
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    loss, clipfrac = policy_loss(new, old, advantages, torch.ones(1, 4), clip=0.2)
    loss.backward()
    assert new.grad is not None
    # Gains beyond 1.2 and losses below 0.8 are clipped; the other two directions are not.
    assert new.grad[0].tolist() == pytest.approx([0.0, 1.5 / 4, -0.5 / 4, 0.0])
    assert clipfrac.item() == 0.5
    assert loss.item() == pytest.approx((-1.2 + 1.5 - 0.5 + 0.8) / 4)


def test_value_loss_of_three_tokens_by_hand() -> None:
    values = torch.tensor([[1.0, 0.1, 5.0]])
    old = torch.tensor([[0.0, 0.0, 0.0]])
    returns = torch.tensor([[2.0, 1.0, 0.0]])
    loss, clipfrac = value_loss(values, old, returns, torch.ones(1, 3), clip=0.2)
    # Token 0 clipped to 0.2: error 1.8 is larger than 1.0. Token 1 inside the clip: 0.9. Token 2 clipped: 0.2 < 5.
    assert loss.item() == pytest.approx(0.5 * (1.8**2 + 0.9**2 + 5.0**2) / 3)
    assert clipfrac.item() == pytest.approx(1 / 3)


def test_values_within_the_clip_are_never_counted_as_clipped() -> None:
    generator = torch.Generator().manual_seed(0)
    old = torch.randn(50, 40, generator=generator)
    values = old + 0.1 * torch.rand(50, 40, generator=generator)
    returns = torch.randn(50, 40, generator=generator)
    loss, clipfrac = value_loss(values, old, returns, torch.ones(50, 40), clip=0.2)
    assert clipfrac == 0
    assert loss.item() == pytest.approx(0.5 * (values - returns).square().mean().item())


@pytest.mark.parametrize("poison", [100.0, float("nan")])
def test_padding_may_hold_anything(poison: float) -> None:
    clean = torch.tensor([[-1.0, -0.5, 0.0]])
    dirty = torch.tensor([[-1.0, -0.5, poison]])
    mask = torch.tensor([[1, 1, 0]])
    zeros = torch.zeros(1, 3)
    assert torch.equal(language_model_loss(clean, mask), language_model_loss(dirty, mask))
    assert torch.equal(
        policy_loss(clean, zeros, clean, mask, clip=0.2).loss, policy_loss(dirty, zeros, dirty, mask, clip=0.2).loss
    )
    assert torch.equal(
        value_loss(clean, zeros, clean, mask, clip=0.2).loss, value_loss(dirty, zeros, dirty, mask, clip=0.2).loss
    )


def test_losses_of_micro_batches_add_up_to_the_minibatch() -> None:
    generator = torch.Generator().manual_seed(3)
    new, old, advantages, returns = (torch.randn(6, 5, generator=generator) for _ in range(4))
    mask = torch.arange(5) < torch.tensor([5, 1, 3, 2, 4, 5])[:, None]
    tokens = mask.sum()
    whole = policy_loss(new, old, advantages, mask, clip=0.2).loss
    parts = [
        policy_loss(new[s], old[s], advantages[s], mask[s], clip=0.2, tokens=tokens).loss
        for s in (slice(0, 1), slice(1, 4), slice(4, 6))
    ]
    assert whole.item() == pytest.approx(sum(parts).item(), abs=1e-6)  # type: ignore[union-attr]
    whole = value_loss(new, old, returns, mask, clip=0.2).loss
    parts = [
        value_loss(new[s], old[s], returns[s], mask[s], clip=0.2, tokens=tokens).loss
        for s in (slice(0, 3), slice(3, 6))
    ]
    assert whole.item() == pytest.approx(sum(parts).item(), abs=1e-6)  # type: ignore[union-attr]


def test_golden_loss_under_a_fixed_seed() -> None:
    generator = torch.Generator().manual_seed(20220304)
    rewards = torch.randn(6, generator=generator)
    assert kwise_loss(rewards, list(itertools.combinations(range(6), 2))).item() == pytest.approx(GOLDEN, abs=1e-6)


GOLDEN = 0.7509788870811462
