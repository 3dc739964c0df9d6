"""A trunk on a packed row: linear layers see no padding, a shared beginning is run once for all who share it.

Knows transformers' attention interface and the layout of the row (`trainer.data.packed`); does not know heads, losses
or data. Each layer's attention function is replaced, for the time of the call, by one that cuts the row into
rectangles: prefixes attend causally to themselves, branches to their prefix and to themselves. Whatever is done token
by token (embeddings, norms, projections, MLPs) runs on the N real tokens alone.

Dimension letters: N tokens of the row, D width, H heads, E entries of a head, B rows of a rectangle, T tokens of its
longest row, n tokens of a stretch of the row.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, PreTrainedModel

from feedback.errors import ConfigError
from trainer.data.packed import Bucket, Packed, Stretch

__all__ = ["Packed", "can_pack", "packed_hidden"]

_NAME = "packed_rows"
_LAYOUT: ContextVar[Packed] = ContextVar("layout")
_OTHER_SIGHTS = ("sliding_window", "attention_chunk_size", "attn_logit_softcapping", "alibi")
"""Settings of architectures whose tokens see something other than all before them, or otherwise than by softmax."""
_OTHER_SUMS = ("position_bias", "sliding_window", "softcap", "s_aux")
"""What layers pass that attend so: a model that ``can_pack`` should not; should one do so, it is better refused."""
_SHARE_MASKED_HEADS = ("cpu",)
"""Devices with a kernel for keys that several heads share under a mask; elsewhere the way out would keep all scores."""


def can_pack(model: PreTrainedModel) -> bool:
    """Return whether ``packed_hidden`` computes what the model computes; if not, use padded rectangles.

    True of decoders whose attention goes through transformers' interface, sees all earlier tokens and takes positions
    as an argument: Llama, Qwen, GPT-2, GPT-NeoX, OPT, Phi and more. Gradient checkpointing runs layers again after the
    call, when the layout is gone.
    """
    config: Any = model.config.get_text_config()
    windowed = getattr(config, "use_sliding_window", True) and any(getattr(config, key, None) for key in _OTHER_SIGHTS)
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        bool(getattr(model, "_supports_attention_backend", False))
        and not windowed
        and layers == {"full_attention"}
        and not getattr(config, "is_encoder_decoder", False)
        and not getattr(model, "is_gradient_checkpointing", False)
        and "position_ids" in inspect.signature(model.base_model.forward).parameters
    )


def packed_hidden(trunk: PreTrainedModel, packed: Packed) -> Tensor:
    """Return (N, D): the trunk's output at every token of the row, as if each sequence were run by itself.

    Args:
        trunk: a model without vocabulary head (``model.base_model`` of a policy) that ``can_pack``.
        packed: the row; its ``at`` and ``last_S`` say where a sequence's tokens lie.

    Raises:
        ConfigError: its attention turns out to be another.
    """
    with _attending(trunk, packed):
        output = trunk(input_ids=packed.input_ids_N[None], position_ids=packed.position_ids_N[None], use_cache=False)
    return cast(Tensor, output.last_hidden_state[0])


@contextmanager
def _attending(trunk: PreTrainedModel, packed: Packed) -> Iterator[None]:
    """Have the trunk's layers attend as the layout says."""
    usual, token = trunk.config._attn_implementation, _LAYOUT.set(packed)
    trunk.config._attn_implementation = _NAME
    try:
        yield
    finally:
        trunk.config._attn_implementation = usual
        _LAYOUT.reset(token)


def _attend(
    _module: Any,
    query_1HNE: Tensor,
    key_1HNE: Tensor,
    value_1HNE: Tensor,
    _mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Attention over a packed row, in the form that transformers' layers call; returns (1, N, H, E)."""
    if other := [name for name in _OTHER_SUMS if rest.get(name) is not None]:
        raise ConfigError(f"attention with {other[0]} cannot be packed: use --no-packed")
    layout = _LAYOUT.get()
    sizes = [stretch.tokens for bucket in layout.buckets for stretch in (bucket.prefixes, bucket.branches) if stretch]
    cut = [torch.split(rows_1HNE[0].transpose(0, 1), sizes) for rows_1HNE in (query_1HNE, key_1HNE, value_1HNE)]
    stretches = zip(*cut, strict=True)
    options: dict[str, Any] = {
        "dropout_p": dropout,
        "scale": scaling,
        "enable_gqa": key_1HNE.shape[1] != query_1HNE.shape[1],
    }
    found: list[Tensor] = []
    for bucket in layout.buckets:
        query, key, value = (_rectangle(rows, bucket.prefixes) for rows in next(stretches))
        seen = _sdpa(query, key, value, is_causal=True, **options)
        found.append(_stretch(seen, bucket.prefixes))
        if bucket.branches is not None:
            query, *own = (_rectangle(rows, bucket.branches) for rows in next(stretches))
            both = [_behind(prefix, branch, bucket) for prefix, branch in zip((key, value), own, strict=True)]
            seen = _sdpa(query, *both, attn_mask=bucket.mask(query.dtype), **options)
            found.append(_stretch(seen, bucket.branches))
    return (torch.cat(found) if len(found) > 1 else found[0])[None], None


AttentionInterface.register(_NAME, _attend)


def _sdpa(query_BTHE: Tensor, key_BTHE: Tensor, value_BTHE: Tensor, **options: Any) -> Tensor:
    """Return (B, T, H, E): softmax attention, heads beside tokens on both sides."""
    if options["enable_gqa"] and "attn_mask" in options and query_BTHE.device.type not in _SHARE_MASKED_HEADS:
        options["enable_gqa"] = False
        times = query_BTHE.shape[2] // key_BTHE.shape[2]
        key_BTHE, value_BTHE = (rows_BTHE.repeat_interleave(times, dim=2) for rows_BTHE in (key_BTHE, value_BTHE))
    query, key, value = (rows_BTHE.transpose(1, 2) for rows_BTHE in (query_BTHE, key_BTHE, value_BTHE))
    return F.scaled_dot_product_attention(query, key, value, **options).transpose(1, 2)


def _behind(prefix_GPHE: Tensor, branch_BTHE: Tensor, bucket: Bucket) -> Tensor:
    """Return (B, P + T, H, E): each branch behind its prefix."""
    return torch.cat([prefix_GPHE.index_select(0, bucket.prefix_B), branch_BTHE], dim=1)


def _rectangle(rows_nHE: Tensor, stretch: Stretch) -> Tensor:
    """Return (B, T, H, E): the stretch's pieces as rows; what stands at padding is finite and has no gradient."""
    if stretch.place_n is not None:
        rows_nHE = cast(Tensor, _Place.apply(rows_nHE, stretch))  # type: ignore[no-untyped-call]
    return rows_nHE.reshape(len(stretch.lengths_B), stretch.width, *rows_nHE.shape[1:])


def _stretch(rows_BTHE: Tensor, stretch: Stretch) -> Tensor:
    """Return (n, H, E): the rectangle's real tokens."""
    rows_mHE = rows_BTHE.flatten(0, 1)
    if stretch.place_n is None:
        return rows_mHE
    return cast(Tensor, _Take.apply(rows_mHE, stretch))  # type: ignore[no-untyped-call]


class _Place(torch.autograd.Function):
    """Tokens to their places in a flattened rectangle. Both ways by selection, which is exact and fast."""

    @staticmethod
    def forward(ctx: Any, rows_nHE: Tensor, stretch: Any) -> Tensor:
        ctx.stretch = stretch
        return rows_nHE.index_select(0, stretch.source_m)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_mHE: Tensor) -> tuple[Tensor, None]:
        return gradient_mHE.index_select(0, ctx.stretch.place_n), None


class _Take(torch.autograd.Function):
    """The way back: real tokens out of a flattened rectangle; padding gets a gradient of 0."""

    @staticmethod
    def forward(ctx: Any, rows_mHE: Tensor, stretch: Any) -> Tensor:
        ctx.stretch = stretch
        return rows_mHE.index_select(0, stretch.place_n)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_nHE: Tensor) -> tuple[Tensor, None]:
        gradient_mHE = gradient_nHE.index_select(0, ctx.stretch.source_m)
        return gradient_mHE.masked_fill_(ctx.stretch.padding_m1[..., None], 0.0), None
