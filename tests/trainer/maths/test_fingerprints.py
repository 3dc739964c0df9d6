"""Fingerprints: equal for equal bits wherever they lie, different after any small change."""

from __future__ import annotations

import pytest
import torch

from trainer.maths import fingerprints
from trainer.maths.fingerprints import fingerprint

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (5, 7), (64, 64)])
def test_equal_bits_have_one_fingerprint_and_each_changed_byte_another(
    dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    tensor = (torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 50).to(dtype)
    expected = fingerprint(tensor)
    assert fingerprint(tensor.clone()) == expected
    assert fingerprint(torch.stack([tensor, tensor])[1]) == expected, "a view that begins anywhere"
    raw = tensor.clone().reshape(-1).view(torch.uint8)
    for place in {0, len(raw) // 2, len(raw) - 1}:
        raw[place] ^= 1
        assert fingerprint(raw.view(dtype).reshape(shape)) != expected
        raw[place] ^= 1
    assert fingerprint(raw.view(dtype).reshape(shape)) == expected


def test_dtype_shape_order_and_the_sign_of_zero_count() -> None:
    tensor = torch.arange(8, dtype=torch.float32)
    others = [tensor.view(torch.int32), tensor.view(2, 4), tensor.flip(0), tensor[:7], tensor.to(torch.float64)]
    assert len({fingerprint(each) for each in (tensor, *others)}) == 6
    assert fingerprint(torch.tensor([0.0])) != fingerprint(torch.tensor([-0.0]))
    assert fingerprint(tensor.view(2, 4).T) == fingerprint(tensor.view(2, 4).T.contiguous())
    assert fingerprint(torch.tensor([1.0])).startswith("float32 (1,) ")


def test_swapped_high_halves_far_apart_are_noticed() -> None:
    """Weights that only count upwards would miss this: words that differ in their top bits, 2^15 places apart."""
    words = torch.zeros(1 << 16, dtype=torch.int64)
    words[0] = 1 << 48
    swapped = torch.zeros_like(words)
    swapped[1 << 15] = 1 << 48
    assert fingerprint(words) != fingerprint(swapped)


def test_a_tensor_longer_than_one_sum_tells_its_parts_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_WORDS", 16)
    fingerprints._weights.cache_clear()
    first, second = torch.randn(2, 16, 2, generator=torch.Generator().manual_seed(0))
    assert fingerprint(torch.cat([first, second])) != fingerprint(torch.cat([second, first]))
    fingerprints._weights.cache_clear()
