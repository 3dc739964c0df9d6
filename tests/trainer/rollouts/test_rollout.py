"""Layout of a rollout: where sequences end, which entries are actions, what is refused."""

from __future__ import annotations

import pytest
import torch

from feedback.errors import StageFailed
from trainer.rollouts.rollout import cut_at_eos, pack_rollout

PAD, EOS = 0, 2


def pack(completions: list[list[int]], logprobs: list[list[float]] | None = None) -> object:
    prompts = [[5, 6, 7], [8]] + [[9, 9]] * (len(completions) - 2)
    return pack_rollout(
        prompts,
        completions,
        logprobs or [[-1.0] * len(c) for c in completions],
        eos_id=EOS,
        pad_id=PAD,
        policy_version=3,
    )


def test_everything_after_the_first_eos_is_cut() -> None:
    assert cut_at_eos([4, EOS, 5, EOS], EOS) == [4, EOS]
    assert cut_at_eos([4, 5], EOS) == [4, 5]


def test_sequence_ends_and_action_mask_equal_brute_force_even_when_padding_tokens_occur_inside() -> None:
    prompts = [[PAD, 6, 7], [8]]
    completions = [[4, PAD, EOS, 9], [4, 4, 4, 4, 4]]
    rollout = pack_rollout(prompts, completions, [[-1.0] * 4, [-1.0] * 5], eos_id=EOS, pad_id=PAD, policy_version=0)
    assert rollout.input_ids_BT.tolist() == [[PAD, 6, 7, 4, PAD, EOS], [8, 4, 4, 4, 4, 4]]
    assert rollout.lengths_B.tolist() == [6, 6]
    assert rollout.action_mask_BA.tolist() == [[True, True, True, False, False], [True] * 5]
    assert rollout.finished_B.tolist() == [True, False]
    assert rollout.completions() == [[4, PAD, EOS], [4, 4, 4, 4, 4]]


def test_the_eos_action_is_an_action() -> None:
    rollout = pack_rollout([[5]], [[EOS]], [[-0.5]], eos_id=EOS, pad_id=PAD, policy_version=0)
    assert rollout.action_mask_BA.tolist() == [[True]]
    assert rollout.sampler_logprobs_BA.tolist() == [[-0.5]]


def test_padding_that_equals_eos_is_refused() -> None:
    with pytest.raises(ValueError, match="give the tokenizer its own <pad>"):
        pack_rollout([[5]], [[4]], [[-1.0]], eos_id=EOS, pad_id=EOS, policy_version=0)


def test_a_missing_logprob_is_an_error_never_zero() -> None:
    with pytest.raises(StageFailed, match="3 tokens but 2 log-probabilities for prompt 0"):
        pack([[4, 4, 4], [4]], [[-1.0, -1.0], [-1.0]])


def test_an_empty_completion_is_an_error() -> None:
    with pytest.raises(StageFailed, match="prompt 1"):
        pack([[4], []])


def test_rows_keep_their_order_and_values_on_another_device() -> None:
    rollout = pack_rollout([[5], [6]], [[4], [EOS]], [[-1.0], [-2.0]], eos_id=EOS, pad_id=PAD, policy_version=7)
    moved = rollout.to(torch.device("cpu"))
    assert moved.policy_version == 7
    assert torch.equal(moved.sampler_logprobs_BA, rollout.sampler_logprobs_BA)
