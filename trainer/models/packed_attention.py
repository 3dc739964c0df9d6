"""Attention over a packed row: prefixes see themselves, branches their prefix and themselves, nobody any padding.

Knows the layout of the row (`trainer.data.packed`); does not know layers or models. The row is cut into rectangles, a
library's attention runs on each, and their real tokens become a row again. Where only some tokens are read in the end,
the last layer needs the others' keys and values, not their queries (``Reading``).

Dimension letters: N tokens of the row, M tokens that are read, H heads, E entries of a head, B rows of a rectangle,
T tokens of its longest row, P tokens of its longest prefix, Q queries of the row with most, n tokens of a stretch.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainer.data.packed import Bucket, Packed, Stretch

_SHARE_MASKED_HEADS = ("cpu",)
"""Devices with a kernel for keys that several heads share under a mask; elsewhere the way out would keep all scores."""


class Reading:
    """Tokens of a row whose states will be read, and how the last layer asks for them alone.

    Args:
        layout: of the row.
        place_M: (M,) int64 places in the row, at least one.

    Attributes:
        place_M: the same, in the row's order: that of everything here.
        back_M: (M,) int64 which of them each of the caller's places is.
    """

    def __init__(self, layout: Packed, place_M: Tensor) -> None:
        self.place_M, order_M = place_M.sort()
        self.back_M = order_M.argsort()
        stretches = [stretch for bucket in layout.buckets for stretch in (bucket.prefixes, bucket.branches) if stretch]
        starts = torch.cat([stretch.lengths_B for stretch in stretches]).cumsum(0)
        starts = torch.cat([starts.new_zeros(1), starts])  # of every piece, and the row's end
        piece_M = torch.searchsorted(starts, self.place_M, right=True) - 1
        column_M, counts = self.place_M - starts[piece_M], torch.bincount(piece_M, minlength=len(starts) - 1)
        edges = [0]
        for stretch in stretches:
            edges.append(edges[-1] + len(stretch.lengths_B))
        cut = [counts[begin:end] for begin, end in pairwise(edges)]
        self._stretches = [Stretch(part.tolist(), counts.device) if bool(part.any()) else None for part in cut]
        columns = torch.split(column_M, [int(part.sum()) for part in cut])
        self._columns = [_rectangle(own, stretch) if stretch else own for own, stretch in
                         zip(columns, self._stretches, strict=True)]  # fmt: skip

    def attend(self, query_MHE: Tensor, keys: list[tuple[Tensor, Tensor, Tensor]], options: dict[str, Any]) -> Tensor:
        """Return (M, H, E).

        Args:
            query_MHE: of the tokens that are read.
            keys: of each stretch, keys and values (B, T, H, E) that it may see and (B or 1, 1, T, T) the mask to add.
            options: of the attention function.
        """
        found = []
        queries = iter(torch.split(query_MHE, [stretch.tokens for stretch in self._stretches if stretch]))
        for stretch, column_BQ, (key, value, mask_B1TT) in zip(self._stretches, self._columns, keys, strict=True):
            if stretch is None:
                continue
            rows_B1 = torch.arange(len(column_BQ), device=column_BQ.device)[:, None]
            mask_BQT = mask_B1TT.expand(len(column_BQ), -1, -1, -1)[rows_B1, 0, column_BQ]
            seen = sdpa(_rectangle(next(queries), stretch), key, value, attn_mask=mask_BQT[:, None], **options)
            found.append(_stretch(seen, stretch))
        return torch.cat(found) if len(found) > 1 else found[0]


def attend(
    query: Tensor,
    key_NHE: Tensor,
    value_NHE: Tensor,
    layout: Packed,
    reading: Reading | None = None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
) -> Tensor:
    """Return (N, H, E), or (M, H, E) of what is read: softmax attention of each token to those before it.

    Args:
        query: (N, H, E), or (M, H, E) in the order of ``reading``.
        key_NHE: keys; as many heads, or a divisor of that.
        value_NHE: values, likewise.
        layout: of the row.
        reading: the tokens that ask; None: all.
        dropout: probability, of attention weights.
        scaling: of scores; None: E to the power of -1/2.
    """
    options: dict[str, Any] = {
        "dropout_p": dropout,
        "scale": scaling,
        "enable_gqa": key_NHE.shape[1] != query.shape[1],
    }
    sizes = [stretch.tokens for bucket in layout.buckets for stretch in (bucket.prefixes, bucket.branches) if stretch]
    asked = [query] if reading is None else []
    stretches = zip(*(torch.split(rows_NHE, sizes) for rows_NHE in (key_NHE, value_NHE, *asked)), strict=True)
    found: list[Tensor] = []
    seen_by: list[tuple[Tensor, Tensor, Tensor]] = []
    for bucket in layout.buckets:
        key, value, *queries = (_rectangle(rows, bucket.prefixes) for rows in next(stretches))
        if queries:
            found.append(_stretch(sdpa(queries[0], key, value, is_causal=True, **options), bucket.prefixes))
        else:
            seen_by.append((key, value, _causal(bucket.prefixes.width, key)))
        if bucket.branches is not None:
            own_key, own_value, *queries = (_rectangle(rows, bucket.branches) for rows in next(stretches))
            both = _behind(key, own_key, bucket), _behind(value, own_value, bucket)
            mask = bucket.mask(key.dtype)
            if queries:
                found.append(_stretch(sdpa(queries[0], *both, attn_mask=mask, **options), bucket.branches))
            else:
                seen_by.append((*both, mask))
    if reading is not None:
        return reading.attend(query, seen_by, options)
    return torch.cat(found) if len(found) > 1 else found[0]


def sdpa(query_BQHE: Tensor, key_BTHE: Tensor, value_BTHE: Tensor, **options: Any) -> Tensor:
    """Return (B, Q, H, E): softmax attention, heads beside tokens on both sides; options must have ``enable_gqa``."""
    if options["enable_gqa"] and "attn_mask" in options and query_BQHE.device.type not in _SHARE_MASKED_HEADS:
        options["enable_gqa"] = False
        times = query_BQHE.shape[2] // key_BTHE.shape[2]
        key_BTHE, value_BTHE = (rows_BTHE.repeat_interleave(times, dim=2) for rows_BTHE in (key_BTHE, value_BTHE))
    query, key, value = (rows_BTHE.transpose(1, 2) for rows_BTHE in (query_BQHE, key_BTHE, value_BTHE))
    return F.scaled_dot_product_attention(query, key, value, **options).transpose(1, 2)


def _causal(width: int, like: Tensor) -> Tensor:
    """Return (1, 1, T, T) to add to scores: 0 where a token may see, else -inf."""
    return torch.full((width, width), -torch.inf, dtype=like.dtype, device=like.device).triu_(1)[None, None]


def _behind(prefix_GPHE: Tensor, branch_BTHE: Tensor, bucket: Bucket) -> Tensor:
    """Return (B, P + T, H, E): each branch behind its prefix."""
    return torch.cat([prefix_GPHE.index_select(0, bucket.prefix_B), branch_BTHE], dim=1)


def _rectangle(rows: Tensor, stretch: Stretch) -> Tensor:
    """Return (B, T, ...): the stretch's pieces as rows; what stands at padding is finite and has no gradient."""
    if stretch.place_n is not None:
        rows = cast(Tensor, _Selected.apply(rows, stretch.source_m, stretch.place_n, None))  # type: ignore[no-untyped-call]
    return rows.reshape(len(stretch.lengths_B), stretch.width, *rows.shape[1:])


def _stretch(rows_BTHE: Tensor, stretch: Stretch) -> Tensor:
    """Return (n, H, E): the rectangle's real tokens; padding gets a gradient of 0."""
    rows_mHE, place_n = rows_BTHE.flatten(0, 1), stretch.place_n
    if place_n is None:
        return rows_mHE
    padding_m11 = stretch.padding_m1[..., None]
    return cast(Tensor, _Selected.apply(rows_mHE, place_n, stretch.source_m, padding_m11))  # type: ignore[no-untyped-call]


class _Selected(torch.autograd.Function):
    """Rows at some places, and gradients by the way back: a selection too, which is exact and fast."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, forth: Tensor, back: Tensor, unread: Tensor | None) -> Tensor:
        ctx.back, ctx.unread = back, unread
        return rows.index_select(0, forth)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        gradient = gradient.index_select(0, ctx.back)
        return gradient if ctx.unread is None else gradient.masked_fill_(ctx.unread, 0.0), None, None, None
