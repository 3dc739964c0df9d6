"""Which rows go through a model together: each once, within the budget, padded or not."""

from __future__ import annotations

from pathlib import Path

import torch

from trainer.models.policies import load_policy
from trainer.models.scalar import ScalarModel
from trainer.ppo.passes import can_all_pack, length_batches, passes


def test_packed_passes_count_real_tokens_and_padded_ones_rectangles() -> None:
    lengths = torch.tensor([9, 2, 5, 7, 2, 30])
    packed = list(passes(lengths, 20, packed=True))
    assert sorted(torch.cat(packed).tolist()) == list(range(6))
    assert [lengths[rows].tolist() for rows in packed] == [[2, 2, 5, 7], [9], [30]]
    padded = list(passes(lengths, 20, packed=False))
    assert [rows.tolist() for rows in padded] == [rows.tolist() for rows in length_batches(lengths, 20)]


def test_length_batches_visit_every_row_once_within_the_budget() -> None:
    lengths = torch.tensor([9, 2, 5, 7, 2, 30])
    batches = list(length_batches(lengths, 20))
    assert sorted(torch.cat(batches).tolist()) == list(range(6))
    assert all(int(lengths[rows].max()) * len(rows) <= 20 or len(rows) == 1 for rows in batches)


def test_short_rows_are_not_padded_to_long_ones_when_a_pass_of_their_own_is_cheaper() -> None:
    lengths = torch.tensor([20] * 10 + [60] * 6)
    batches = list(length_batches(lengths, 10_000))
    assert [len(rows) for rows in batches] == [10, 6]
    assert len(list(length_batches(torch.tensor([20, 21, 22, 23]), 10_000))) == 1


def test_one_model_that_needs_padding_is_enough_to_pad(tiny_policy_dir: Path, tiny_reward_dir: Path) -> None:
    policy, value = load_policy(tiny_policy_dir), ScalarModel.load(tiny_reward_dir)
    assert can_all_pack(policy, value)
    policy.config.sliding_window = 8
    assert not can_all_pack(policy, value)
    assert can_all_pack(value)
