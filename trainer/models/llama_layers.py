"""Layers of Llama's form on a packed row: fewer passes over memory, and the last layer only where it is read.

In PPO the actions are read, in a reward model one token a sequence: the last layer computes keys and values of all
tokens, but queries, attention and MLP of those alone. In every layer, norms and rotary positions have a backward of
their own, which keeps less and touches it less often than what automatic differentiation derives. Matrices are
multiplied by the layer's own modules, so that adapters and models split over processes work as ever.

Knows transformers' Llama and Qwen2 layers; does not know other architectures, whose layers run as they are
(`trainer.models.packing`), heads or losses.

Dimension letters: N tokens of the row, M tokens that are asked about, D width, H heads, E entries of a head, F
entries inside an MLP.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

from trainer.data.packed import Packed
from trainer.models.packed_attention import Reading, attend

_FORMS = (LlamaDecoderLayer, Qwen2DecoderLayer)


def has_llama_layers(trunk: PreTrainedModel) -> bool:
    """Return whether all of the trunk's layers are of a form known here, without a window."""
    layers = getattr(trunk, "layers", None)
    return (
        isinstance(layers, nn.ModuleList)
        and len(layers) > 0
        and all(isinstance(each, _FORMS) and not getattr(each.self_attn, "sliding_window", None) for each in layers)
    )


@contextmanager
def forwarding(trunk: PreTrainedModel, layout: Packed, reading: Reading | None) -> Iterator[None]:
    """Have the trunk's layers run as this module says, for one call.

    Args:
        trunk: which ``has_llama_layers``.
        layout: of the row.
        reading: the tokens whose states are wanted: the call's output is theirs, in its order; None: all.
    """
    layers: Any = trunk.layers
    made: list[Turns] = []

    def run(layer: Any, hidden_1ND: Tensor, *, position_embeddings: tuple[Tensor, Tensor], **_: Any) -> Tensor:
        if not made:  # the same for all layers of the call
            made.append(Turns.of(*position_embeddings, layer.self_attn.config.num_attention_heads))
        asking = reading if layer is layers[-1] else None
        return _layer(layer, hidden_1ND[0], made[0], layout, asking)[None]

    for layer in layers:
        layer.forward = partial(run, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


class Turns(NamedTuple):
    """By which angles each token's position turns the pairs of a query's entries, as wide as all heads together.

    Attributes:
        cos_ND: cosines.
        sin_ND: sines, negative where an entry is the first of its pair.
    """

    cos_ND: Tensor
    sin_ND: Tensor

    @classmethod
    def of(cls, cos_1NE: Tensor, sin_1NE: Tensor, heads: int) -> Turns:
        """Lay the trunk's tables side by side for all heads."""
        cos_NE, sin_NE = cos_1NE[0], sin_1NE[0].clone()
        sin_NE[:, : sin_NE.shape[-1] // 2].neg_()
        return cls(cos_NE.repeat(1, heads), sin_NE.repeat(1, heads))

    def at(self, place_M: Tensor) -> Turns:
        """Return those of some tokens."""
        return Turns(self.cos_ND.index_select(0, place_M), self.sin_ND.index_select(0, place_M))


def rms_norm(rows_ND: Tensor, module: Any) -> Tensor:
    """Return (N, D): rows over their root mean square, times the module's weights; statistics are float32 at least.

    Source: B. Zhang and R. Sennrich, "Root Mean Square Layer Normalization", 2019, arXiv:1910.07467, eq. 4.
    """
    if not torch.is_grad_enabled():  # what automatic differentiation costs by itself is felt where rows are few
        return _scaled(rows_ND, module.variance_epsilon)[0].mul_(module.weight)
    normed_ND: Tensor = _RmsNorm.apply(rows_ND, module.weight, module.variance_epsilon)  # type: ignore[no-untyped-call]
    return normed_ND


def turned(rows_ND: Tensor, turns: Turns, entries: int) -> Tensor:
    """Return (N, H, E): each pair of a head's entries (e, e + E/2) turned by the angle of its token's position.

    Source: J. Su et al., "RoFormer", 2021, arXiv:2104.09864, section 3.2, with halves in place of neighbours.
    """
    width = rows_ND.shape[-1]  # keys may have fewer heads than queries
    tables = turns.cos_ND[:, :width], turns.sin_ND[:, :width]
    turned_ND: Tensor
    if torch.is_grad_enabled():
        turned_ND = _Turned.apply(rows_ND, *tables, entries)  # type: ignore[no-untyped-call]
    else:
        turned_ND = _turn(rows_ND, *tables, entries, 1)
    return turned_ND.view(len(rows_ND), -1, entries)


def mlp(rows_ND: Tensor, module: Any) -> Tensor:
    """Return (N, D): a layer's MLP of the rows, in as few blocks of memory as gradients leave it."""
    grown_ND: Tensor
    if torch.is_grad_enabled() or module.config.hidden_act != "silu":
        grown_ND = module(rows_ND)
    else:
        gate_NF = F.silu(module.gate_proj(rows_ND), inplace=True)
        grown_ND = module.down_proj(gate_NF.mul_(module.up_proj(rows_ND)))
    return grown_ND


def _scaled(rows_ND: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return (N, D) rows over their root mean square, the rows in float32 at least, and (N, 1) their scales."""
    wide_ND = rows_ND if rows_ND.dtype == torch.float64 else rows_ND.float()
    norm_N1 = torch.linalg.vector_norm(wide_ND, dim=-1, keepdim=True)
    scale_N1 = norm_N1.square_().div_(rows_ND.shape[-1]).add_(epsilon).rsqrt_()
    return (wide_ND * scale_N1).to(rows_ND.dtype), wide_ND, scale_N1


def _layer(layer: Any, hidden_ND: Tensor, turns: Turns, layout: Packed, reading: Reading | None) -> Tensor:
    """Return (N, D): the residual stream behind a layer; (M, D) of the tokens of ``reading``, where there is one."""
    attention, entries = layer.self_attn, layer.self_attn.head_dim
    normed_ND = rms_norm(hidden_ND, layer.input_layernorm)
    asking_MD, query_turns = normed_ND, turns
    if reading is not None:
        asking_MD, hidden_ND = (rows_ND.index_select(0, reading.place_M) for rows_ND in (normed_ND, hidden_ND))
        query_turns = turns.at(reading.place_M)
    seen_MHE = attend(
        turned(attention.q_proj(asking_MD), query_turns, entries),
        turned(attention.k_proj(normed_ND), turns, entries),
        attention.v_proj(normed_ND).view(len(normed_ND), -1, entries),
        layout,
        reading,
        dropout=attention.attention_dropout if attention.training else 0.0,
        scaling=attention.scaling,
    )
    hidden_ND = attention.o_proj(seen_MHE.flatten(1)).add_(hidden_ND)
    return mlp(rms_norm(hidden_ND, layer.post_attention_layernorm), layer.mlp).add_(hidden_ND)


class _RmsNorm(torch.autograd.Function):
    """Backward is layer norm's, which is one pass, with what differs added."""

    @staticmethod
    def forward(ctx: Any, rows_ND: Tensor, weight_D: Tensor, epsilon: float) -> Tensor:
        normed_ND, wide_ND, scale_N1 = _scaled(rows_ND, epsilon)
        ctx.save_for_backward(wide_ND, weight_D, scale_N1)
        ctx.dtype = rows_ND.dtype
        return normed_ND.mul_(weight_D)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_ND: Tensor) -> tuple[Tensor, Tensor, None]:
        wide_ND, weight_D, scale_N1 = ctx.saved_tensors
        wide_D, gradient_ND = weight_D.to(wide_ND.dtype), gradient_ND.to(wide_ND.dtype)
        # Layer norm takes the mean off, which here is 0 by decree; that part of its gradient is put back.
        rows_ND, weight_gradient_D, _ = torch.ops.aten.native_layer_norm_backward(
            gradient_ND, wide_ND, [wide_ND.shape[-1]], torch.zeros_like(scale_N1), scale_N1, wide_D, None,
            [True, True, False],
        )  # fmt: skip
        rows_ND.addcmul_(scale_N1, (gradient_ND * wide_D).mean(-1, keepdim=True))
        return rows_ND.to(ctx.dtype), weight_gradient_D.to(weight_D.dtype), None


class _Turned(torch.autograd.Function):
    """Rows times cosines, plus rows with the halves of each head exchanged times sines; backward turns back."""

    @staticmethod
    def forward(ctx: Any, rows_ND: Tensor, cos_ND: Tensor, sin_ND: Tensor, entries: int) -> Tensor:
        ctx.save_for_backward(cos_ND, sin_ND)
        ctx.entries = entries
        return _turn(rows_ND, cos_ND, sin_ND, entries, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_ND: Tensor) -> tuple[Tensor, None, None, None]:
        cos_ND, sin_ND = ctx.saved_tensors
        return _turn(gradient_ND, cos_ND, sin_ND, ctx.entries, -1), None, None, None


def _turn(rows_ND: Tensor, cos_ND: Tensor, sin_ND: Tensor, entries: int, sign: int) -> Tensor:
    exchanged_NHE = torch.roll(rows_ND.reshape(len(rows_ND), -1, entries), entries // 2, -1)
    return (rows_ND * cos_ND).addcmul_(exchanged_NHE.flatten(1), sin_ND, value=sign).to(rows_ND.dtype)
