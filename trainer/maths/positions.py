"""Where tokens are in padded rows: positions that count real tokens, and the last real one.

Dimension letters: B batch, T tokens. Masks are 1 at real tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor


def position_ids(attention_mask_BT: Tensor) -> Tensor:
    """Return (B, T) int64 positions that count real tokens from 0, whatever the padding side."""
    return (attention_mask_BT.long().cumsum(dim=1) - 1).clamp(min=0)


def last_positions(attention_mask_BT: Tensor) -> Tensor:
    """Return (B,) int64 index of each row's last real token.

    Raises:
        ValueError: a row has no real token.
    """
    mask_BT = attention_mask_BT.bool()
    if not bool(mask_BT.any(dim=1).all()):
        raise ValueError("a sequence without a single real token has no last token")
    indices_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    return torch.where(mask_BT, indices_T, -1).amax(dim=1)
