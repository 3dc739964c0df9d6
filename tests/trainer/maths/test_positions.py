"""Positions count real tokens, whatever the padding."""

import pytest
import torch

from trainer.maths.positions import last_positions, position_ids


def test_positions_count_real_tokens() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])
    assert position_ids(mask).tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 2, 2]]


def test_last_real_token_equals_brute_force_on_any_mask() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        length, before, after = (int(torch.randint(1, 9, (), generator=generator)) for _ in range(3))
        mask = torch.tensor([[0] * before + [1] * length + [0] * after])
        brute = max(index for index, real in enumerate(mask[0].tolist()) if real)
        assert last_positions(mask).tolist() == [brute]
    with pytest.raises(ValueError, match="without a single real token"):
        last_positions(torch.tensor([[0, 0], [0, 1]]))
