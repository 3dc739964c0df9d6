"""A trunk on a packed row: linear layers see no padding, a shared beginning is run once for all who share it.

Knows which models can be run so, and transformers' attention interface; does not know heads, losses or data. Whatever
is done token by token (embeddings, norms, projections, MLPs) runs on the N real tokens alone; attention on rectangles
that are cut out of the row (`trainer.models.packed_attention`). Layers of a form that `trainer.models.llama_layers`
knows run in less time, the last one for those tokens alone that are read, where those are few.

Dimension letters: N tokens of the row, M tokens that are read, D width, H heads, E entries of a head.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, cast

from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from feedback.errors import ConfigError
from trainer.data.packed import Packed
from trainer.models.llama_layers import forwarding, has_llama_layers
from trainer.models.packed_attention import Reading, attend

__all__ = ["Packed", "can_pack", "packed_hidden"]

_NAME = "packed_rows"
_LAYOUT: ContextVar[Packed] = ContextVar("layout")
_OTHER_SIGHTS = ("sliding_window", "attention_chunk_size", "attn_logit_softcapping", "alibi")
"""Settings of architectures whose tokens see something other than all before them, or otherwise than by softmax."""
_OTHER_SUMS = ("position_bias", "sliding_window", "softcap", "s_aux")
"""What layers pass that attend so: a model that ``can_pack`` should not; should one do so, it is better refused."""
_WORTH_CHOOSING = 0.8
"""Share of a row's tokens above which choosing among them in the last layer saves less than it costs."""


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


def packed_hidden(trunk: PreTrainedModel, packed: Packed, place_M: Tensor | None = None) -> Tensor:
    """Return (M, D): the trunk's output at places of the row, as if each sequence were run by itself.

    Args:
        trunk: a model without vocabulary head (``model.base_model`` of a policy) that ``can_pack``.
        packed: the row; its ``at`` and ``last_S`` say where a sequence's tokens lie.
        place_M: (M,) int64 places whose states are wanted, in any order; None: all, in the row's.

    Raises:
        ConfigError: its attention turns out to be another.
    """
    known = has_llama_layers(trunk)
    few = known and place_M is not None and 0 < len(place_M) < _WORTH_CHOOSING * len(packed.input_ids_N)
    reading = Reading(packed, cast(Tensor, place_M)) if few else None
    with _attending(trunk, packed), forwarding(trunk, packed, reading) if known else nullcontext():
        output = trunk(input_ids=packed.input_ids_N[None], position_ids=packed.position_ids_N[None], use_cache=False)
    hidden = cast(Tensor, output.last_hidden_state[0])
    chosen_M = reading.back_M if reading else place_M
    return hidden if chosen_M is None else hidden.index_select(0, chosen_M)


@contextmanager
def _attending(trunk: PreTrainedModel, packed: Packed) -> Iterator[None]:
    """Have the trunk's layers attend as the layout says, and the trunk make no mask of its own."""
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
    query, key, value = (rows_1HNE[0].transpose(0, 1) for rows_1HNE in (query_1HNE, key_1HNE, value_1HNE))
    return attend(query, key, value, _LAYOUT.get(), dropout=dropout, scaling=scaling)[None], None


AttentionInterface.register(_NAME, _attend)
