"""A trunk's last layer on a packed row, run only for tokens whose states are read: the others give keys and values.

In PPO those are the actions, in a reward model one token a sequence; what lies in the prompts need not be asked about
again. Every matrix is multiplied by the layer's own modules, so that adapters and models split over processes work as
ever. Knows transformers' Llama and Qwen2 layers; does not know other architectures, whose last layer runs as the rest
(`trainer.models.packing`), heads or losses.

Dimension letters: N tokens of the row, M tokens that are read, D width, H heads, E entries of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, rotate_half
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

from trainer.data.packed import Packed
from trainer.models.packed_attention import Reading, attend

_FORMS = (LlamaDecoderLayer, Qwen2DecoderLayer)


def can_read_few(trunk: PreTrainedModel) -> bool:
    """Return whether the trunk's last layer is of a form known here."""
    return isinstance(_last_layer(trunk), _FORMS)


@contextmanager
def reading_few(trunk: PreTrainedModel, layout: Packed, reading: Reading) -> Iterator[None]:
    """Have the trunk's output be that of the M tokens of ``reading``, in its order, for one call."""
    layer = _last_layer(trunk)
    layer.forward = partial(_forward, layer, layout=layout, reading=reading)
    try:
        yield
    finally:
        del layer.forward


def _forward(
    layer: Any,
    hidden_1ND: Tensor,
    *,
    position_embeddings: tuple[Tensor, Tensor],
    layout: Packed,
    reading: Reading,
    **_: Any,
) -> Tensor:
    """Return (1, M, D): the residual stream behind the layer.

    Args:
        layer: whose modules.
        hidden_1ND: residual stream before it.
        position_embeddings: (1, N, E) cosines and sines.
        layout: of the row.
        reading: tokens whose states are wanted.
    """
    attention = layer.self_attn
    angles_1ME = [table_1NE.index_select(1, reading.place_M) for table_1NE in position_embeddings]
    normed_1ND = layer.input_layernorm(hidden_1ND)
    asking_1MD, hidden_1MD = (rows.index_select(1, reading.place_M) for rows in (normed_1ND, hidden_1ND))
    query_1MD, key_1ND = attention.q_proj(asking_1MD), attention.k_proj(normed_1ND)
    heads = (-1, attention.head_dim)
    seen_MHE = attend(
        _turned(query_1MD.unflatten(-1, heads), angles_1ME)[0],
        _turned(key_1ND.unflatten(-1, heads), position_embeddings)[0],
        attention.v_proj(normed_1ND).unflatten(-1, heads)[0],
        layout,
        reading,
        dropout=attention.attention_dropout if attention.training else 0.0,
        scaling=attention.scaling,
    )
    hidden_1MD = hidden_1MD + attention.o_proj(seen_MHE.flatten(1)[None])
    return cast(Tensor, hidden_1MD + layer.mlp(layer.post_attention_layernorm(hidden_1MD)))


def _turned(rows_1NHE: Tensor, angles_1NE: Sequence[Tensor]) -> Tensor:
    """Rotary positions, as the layer's own attention puts them on."""
    cos_1N1E, sin_1N1E = (table_1NE.unsqueeze(2) for table_1NE in angles_1NE)
    return cast(Tensor, rows_1NHE * cos_1N1E + rotate_half(rows_1NHE) * sin_1N1E)


def _last_layer(trunk: PreTrainedModel) -> Any:
    layers = getattr(trunk, "layers", None)
    return layers[-1] if isinstance(layers, nn.ModuleList) and len(layers) else None
