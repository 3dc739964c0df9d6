"""Attention over a packed row: of all tokens, and of those alone that are read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainer.models.test_packing import CONFIGS, build, ragged_groups
from trainer.data.packed import Packed
from trainer.models import packed_attention
from trainer.models.packed_attention import Reading, attend
from trainer.models.packing import packed_hidden


def layout(*, shared: bool) -> Packed:
    prompts, completions = ragged_groups()
    sequences = [p + c for p, own in zip(prompts, completions, strict=True) for c in own]
    return Packed.of_groups(prompts, completions) if shared else Packed.of_sequences(sequences)


def draw(row: Packed, heads: int) -> Tensor:
    return torch.randn(len(row.input_ids_N), heads, 4, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("read", ["some", "one", "all", "last of each"])
def test_tokens_that_are_read_see_what_they_see_among_all(shared: bool, key_heads: int, read: str) -> None:
    torch.manual_seed(3)
    row = layout(shared=shared)
    query, key, value = draw(row, 4), draw(row, key_heads), draw(row, key_heads)
    tokens = len(row.input_ids_N)
    place_M = {
        "some": torch.randperm(tokens)[: tokens // 3],
        "one": torch.tensor([tokens - 1]),
        "all": torch.randperm(tokens),
        "last of each": row.last_S.unique(),
    }[read]
    reading = Reading(row, place_M)
    assert torch.equal(reading.place_M[reading.back_M], place_M)
    found = attend(query[reading.place_M], key, value, row, reading)[reading.back_M]
    expected = attend(query, key, value, row)[place_M]
    assert torch.allclose(found, expected, atol=1e-12)
    weights = torch.randn_like(found)
    ours, theirs = (torch.autograd.grad((seen * weights).sum(), (query, key, value)) for seen in (found, expected))
    assert all(torch.allclose(one, other, atol=1e-12) for one, other in zip(ours, theirs, strict=True))


def test_a_pair_is_softmax_attention_by_hand() -> None:
    row = Packed.of_sequences([[5, 6]])
    query, key, value = (torch.tensor(numbers)[:, None, None] for numbers in ([1.0, 2.0], [3.0, 4.0], [10.0, 20.0]))
    seen = attend(query[1:], key, value, row, Reading(row, torch.tensor([1])), scaling=0.5).flatten()
    share = float(torch.tensor(0.5 * (2 * 4 - 2 * 3)).sigmoid())
    assert seen.tolist() == pytest.approx([10 * (1 - share) + 20 * share])


@pytest.mark.parametrize("chosen", [False, True])
def test_heads_that_share_keys_are_spelt_out_where_no_kernel_takes_them(
    chosen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, row = build(CONFIGS["llama with shared keys"]), layout(shared=True)
    place_M: Any = row.last_S.unique() if chosen else None
    usual = packed_hidden(model, row, place_M)
    monkeypatch.setattr(packed_attention, "_SHARE_MASKED_HEADS", ())
    assert torch.allclose(packed_hidden(model, row, place_M), usual, atol=1e-6)
