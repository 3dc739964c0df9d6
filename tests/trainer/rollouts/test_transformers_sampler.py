"""The transformers sampler: the right distribution, the right log-probabilities, the right end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from trainer.models.actions import action_positions, logprobs_at, to_actions
from trainer.models.policies import load_policy
from trainer.rollouts.rollout import Rollout
from trainer.rollouts.transformers_sampler import TransformersSampler, draw, left_pad

EOS, PAD = 2, 0
PROMPTS = [[1, 20, 30, 40, 50], [1, 60], [1, 70, 80, 90, 100, 110, 120], [1, 33, 44]]


def sampler(policy: PreTrainedModel, **changes: object) -> TransformersSampler:
    given = {"eos_id": EOS, "pad_id": PAD, "max_completion_tokens": 16} | changes
    return TransformersSampler(policy, **given)  # type: ignore[arg-type]


@torch.no_grad()
def recomputed(policy: PreTrainedModel, rollout: Rollout, temperature: float) -> torch.Tensor:
    mask = rollout.action_mask_BA
    positions = action_positions(rollout.input_ids_BT, rollout.prompt_tokens_B, mask)
    return to_actions(logprobs_at(policy, rollout.input_ids_BT, positions, temperature=temperature), mask)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampler_logprobs_equal_the_trainers_in_spite_of_left_padding_and_cache(
    tiny_policy_dir: Path, temperature: float
) -> None:
    policy = load_policy(tiny_policy_dir)
    rollout = sampler(policy, temperature=temperature).sample(PROMPTS * 4, seed=1)
    gap = (recomputed(policy, rollout, temperature) - rollout.sampler_logprobs_BA).abs().max()
    assert gap < 1e-4


def test_greedy_equals_transformers_own_generate_row_by_row(tiny_policy_dir: Path) -> None:
    policy = load_policy(tiny_policy_dir)
    got = sampler(policy, temperature=0.0).sample(PROMPTS, seed=0).completions()
    for prompt, tokens in zip(PROMPTS, got, strict=True):
        whole = policy.generate(
            torch.tensor([prompt]), max_new_tokens=16, do_sample=False, eos_token_id=EOS, pad_token_id=PAD
        )
        assert whole[0, len(prompt) :].tolist() == tokens


def test_no_completion_ends_before_its_least_length(tiny_policy_dir: Path) -> None:
    policy = load_policy(tiny_policy_dir)
    got = sampler(policy, temperature=0.0, min_completion_tokens=12).sample(PROMPTS, seed=0).completions()
    for prompt, tokens in zip(PROMPTS, got, strict=True):
        whole = policy.generate(
            torch.tensor([prompt]),
            max_new_tokens=16,
            min_new_tokens=12,
            do_sample=False,
            eos_token_id=EOS,
            pad_token_id=PAD,
        )
        assert len(tokens) >= 12
        assert whole[0, len(prompt) :].tolist() == tokens


def test_same_seed_same_tokens_and_another_seed_others(tiny_policy_dir: Path) -> None:
    policy = load_policy(tiny_policy_dir)
    first, again, other = (sampler(policy).sample(PROMPTS, seed=s).completions() for s in (5, 5, 6))
    assert first == again
    assert first != other


def test_finished_rows_leave_the_others_as_they_would_have_been(tiny_policy_dir: Path) -> None:
    """A policy that often stops at once makes the cache compact early; the survivors must not notice."""
    policy = load_policy(tiny_policy_dir)
    with torch.no_grad():
        policy.get_input_embeddings().weight[EOS] *= 2.5  # tied: EOS becomes likelier
    rollout = sampler(policy, max_completion_tokens=24).sample(PROMPTS * 16, seed=3)
    finished = rollout.finished_B.float().mean().item()
    assert 0.05 < finished < 1.0
    assert rollout.completion_tokens_B.unique().numel() > 3
    gap = (recomputed(policy, rollout, 1.0) - rollout.sampler_logprobs_BA).abs().max()
    assert gap < 1e-4
    ends = [tokens[-1] == EOS for tokens in rollout.completions()]
    assert ends == rollout.finished_B.tolist()
    assert all(EOS not in tokens[:-1] for tokens in rollout.completions())


def test_draws_follow_the_softmax_at_the_temperature() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]]).expand(20_000, 4)
    tokens, logprobs = draw(logits, torch.rand(20_000, generator=torch.Generator().manual_seed(0)), 0.5)
    expected = torch.softmax(torch.tensor([0.0, 1.0, 2.0, -1.0]) / 0.5, -1)
    shares = torch.bincount(tokens, minlength=4) / 20_000
    assert torch.allclose(shares, expected, atol=0.01)
    assert torch.allclose(logprobs.exp(), expected[tokens], atol=1e-5)


def test_uniform_numbers_at_both_ends_give_tokens_of_the_vocabulary() -> None:
    tokens, _ = draw(torch.zeros(2, 7), torch.tensor([0.0, 1.0 - 2**-24]), 1.0)
    assert tokens.tolist() == [0, 6]


def test_the_importance_ratio_has_mean_one_without_truncation() -> None:
    """E over samples of p/p is 1; a sampler that kept 90 % of the mass would give 0.9 (or 1.11)."""
    generator = torch.Generator().manual_seed(1)
    sampling = torch.randn(1, 50, generator=generator)
    target = sampling + 0.3 * torch.randn(1, 50, generator=generator)
    tokens, logprobs = draw(sampling.expand(50_000, 50), torch.rand(50_000, generator=generator), 1.0)
    ratios = (torch.log_softmax(target, -1)[0][tokens] - logprobs).exp()
    assert ratios.mean().item() == pytest.approx(1.0, abs=0.01)


def test_sampling_leaves_the_models_mode_as_it_was_and_has_dropout_off(tiny_policy_dir: Path) -> None:
    policy = load_policy(tiny_policy_dir, dropout=0.5).train()
    first = sampler(policy, temperature=0.0).sample(PROMPTS, seed=0)
    assert policy.training
    assert first.completions() == sampler(policy, temperature=0.0).sample(PROMPTS, seed=1).completions()


def test_batches_split_the_prompts_but_keep_their_order(tiny_policy_dir: Path) -> None:
    policy = load_policy(tiny_policy_dir)
    together = sampler(policy, temperature=0.0).sample(PROMPTS, seed=0)
    apart = sampler(policy, temperature=0.0, batch_size=3).sample(PROMPTS, seed=0)
    assert together.completions() == apart.completions()


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        left_pad([[1], []], PAD)
