"""Fingerprints: one line of text by which two tensors are known to be the same bits, wherever each of them lies.

Knows tensors as rows of bytes; does not know what they mean or who compares them.

Integers only, so a GPU and a CPU agree to the last bit, and no copy leaves the device. Against accidents, not against
somebody who wants two tensors to look alike.

Dimension letters: W words of eight bytes.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

_WORDS = 1 << 20
"""Words that are summed at once: 8 MiB, so that the largest tensor needs no large scratch space."""
_GOLDEN, _MIXER = -7046029254386353131, -4658895280553007687
"""Odd constants of SplitMix64 (Steele et al. 2014, doi:10.1145/2660193.2660195), as signed 64-bit numbers."""


def fingerprint(tensor: Tensor) -> str:
    """Return dtype, shape and a 64-bit sum over the bits.

    The sum is of eight-byte words times odd numbers of their places, modulo 2^64: a change within one word always
    changes it, any other change but for one in about 2^60.

    Args:
        tensor: of any shape, dtype and device.
    """
    flat = tensor.detach().reshape(-1).contiguous()
    raw = flat.view(torch.uint8)
    if raw.numel() % 8:
        raw = torch.nn.functional.pad(raw, (0, -raw.numel() % 8))
    elif raw.storage_offset() % 8 or raw.data_ptr() % 8:
        raw = raw.clone()  # a word can be read where words begin only
    words_W = raw.view(torch.int64)
    weights_W = _weights(str(tensor.device))
    total = torch.zeros((), dtype=torch.int64, device=tensor.device)
    for number, start in enumerate(range(0, len(words_W), _WORDS)):
        part_W = words_W[start : start + _WORDS]
        total += (part_W * weights_W[: len(part_W)]).sum() * (2 * number + 1)
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)} {int(total) % 2**64:016x}"


@lru_cache
def _weights(device: str) -> Tensor:
    """(W,) odd numbers without a pattern, the same on every device."""
    places_W = torch.arange(1, _WORDS + 1, dtype=torch.int64) * _GOLDEN
    return (((places_W ^ (places_W >> 29)) * _MIXER) | 1).to(device)
