"""Logits of the next token, a token a step: what was read before is kept as keys and values and not read again.

Two ways that say the same: the model's own forward, for any architecture, and for models of Llama's form the functions
of `trainer.models.llama_layers`, which takes seven eighths of the time where a model is so small that the steps around
its matrices are what costs. Knows caches and left padding; does not know draws or completions.

Dimension letters: B rows still running, P tokens of the longest prompt, Q tokens that a step reads (P, then 1), A of
them that are asked about, L tokens kept so far, W most that will be kept, N = B x Q, D width, H heads, E entries of a
head, V vocabulary.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaModel, PreTrainedModel, Qwen2Model
from transformers.cache_utils import Cache, DynamicLayer

from trainer.maths.logprobs import plain_head
from trainer.maths.shards import is_part
from trainer.models.llama_layers import Turns, has_llama_layers, mlp, rms_norm, turned
from trainer.models.packed_attention import sdpa


class Decoder(Protocol):
    """Rows that grow by a token a step."""

    def step(self, ids_BQ: Tensor, position_BQ: Tensor) -> Tensor:
        """Return (B, V) logits of the token after the last one.

        Args:
            ids_BQ: (B, Q) int64 tokens: first all of the prompts, then one a row.
            position_BQ: (B, Q) int64 position of each in its sequence; of padding, any.
        """

    def keep(self, rows_K: Tensor) -> None:
        """Go on with these rows only, (K,) int64, in this order."""


def decoder(policy: PreTrainedModel, mask_BP: Tensor, steps: int) -> Decoder:
    """Return the faster decoder that can read this policy.

    Args:
        policy: causal language model, in eval mode.
        mask_BP: (B, P) int64 of the left-padded prompts, 1 at real tokens.
        steps: most that will be taken.
    """
    trunk, head = policy.base_model, plain_head(policy)
    whole = not any(is_part(parameter) for parameter in policy.parameters())  # parts are gathered by the model's hooks
    if head is not None and whole and isinstance(trunk, LlamaModel | Qwen2Model) and has_llama_layers(trunk):
        return LlamaDecoder(trunk, head, mask_BP, steps)
    return ModelDecoder(policy, mask_BP, steps)


class ModelDecoder:
    """Through the model's own forward."""

    def __init__(self, policy: PreTrainedModel, mask_BP: Tensor, steps: int) -> None:
        """Read nothing yet; arguments as of ``decoder``."""
        self._policy, self._mask_BL = policy, mask_BP
        self._cache = GrowingCache(policy.config.get_text_config().num_hidden_layers, mask_BP.shape[1] + steps)

    def step(self, ids_BQ: Tensor, position_BQ: Tensor) -> Tensor:
        """See ``Decoder``."""
        kept = self._cache.get_seq_length()
        missing = kept + ids_BQ.shape[1] - self._mask_BL.shape[1]
        self._mask_BL = F.pad(self._mask_BL, (0, missing), value=1)
        logits_B1V: Tensor = self._policy(
            input_ids=ids_BQ,
            attention_mask=self._mask_BL,
            position_ids=position_BQ,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        return logits_B1V[:, -1]

    def keep(self, rows_K: Tensor) -> None:
        """See ``Decoder``."""
        self._cache.batch_select_indices(rows_K)
        self._mask_BL = self._mask_BL[rows_K]


class LlamaDecoder:
    """Through layers of Llama's form, called one by one; the prompts' last layer at their last tokens alone."""

    def __init__(self, trunk: PreTrainedModel, head: nn.Module, mask_BP: Tensor, steps: int) -> None:
        """Read nothing yet.

        Args:
            trunk: of which `has_llama_layers` is true.
            head: gives logits of the trunk's output.
            mask_BP: as of ``decoder``.
            steps: as of ``decoder``.
        """
        self._trunk: Any = trunk
        self._head = head
        self._width, self._end = mask_BP.shape[1] + steps, 0
        self._kept: list[tuple[Tensor, Tensor]] = []
        position_1W = torch.arange(self._width, device=mask_BP.device)[None]
        cos_1WE, sin_1WE = self._trunk.rotary_emb(self._trunk.norm.weight, position_ids=position_1W)
        self._turns = Turns.of(cos_1WE, sin_1WE, self._trunk.config.num_attention_heads)  # of every position
        unread_BW = F.pad(mask_BP == 0, (0, steps))
        self._unread_BW = unread_BW if bool(unread_BW.any()) else None

    def step(self, ids_BQ: Tensor, position_BQ: Tensor) -> Tensor:
        """See ``Decoder``."""
        layers = self._trunk.layers
        begin, self._end = self._end, self._end + ids_BQ.shape[1]
        hidden_BQD: Tensor = self._trunk.embed_tokens(ids_BQ)
        turns = self._turns.at(position_BQ.flatten())
        for number, layer in enumerate(layers):
            last = layer is layers[-1]
            hidden_BQD = self._layer(number, layer, hidden_BQD, turns, begin, asked=1 if last else ids_BQ.shape[1])
        return cast(Tensor, self._head(rms_norm(hidden_BQD[:, -1], self._trunk.norm)))

    def keep(self, rows_K: Tensor) -> None:
        """See ``Decoder``."""
        self._kept = [(key_BWHE[rows_K], value_BWHE[rows_K]) for key_BWHE, value_BWHE in self._kept]
        self._unread_BW = None if self._unread_BW is None else self._unread_BW[rows_K]

    def _layer(self, number: int, layer: Any, hidden_BQD: Tensor, turns: Turns, begin: int, asked: int) -> Tensor:
        """Return (B, A, D): the residual stream behind a layer at the last A = ``asked`` tokens."""
        attention, (rows, tokens, _) = layer.self_attn, hidden_BQD.shape
        shape = rows, tokens, -1, attention.head_dim
        normed_BQD = rms_norm(hidden_BQD, layer.input_layernorm)
        normed_ND = normed_BQD.flatten(0, 1)
        key_BQHE = turned(attention.k_proj(normed_ND), turns, attention.head_dim).view(shape)
        key, value = self._keep(number, begin, key_BQHE, attention.v_proj(normed_ND).view(shape))
        if asked < tokens:
            hidden_BQD, normed_ND = hidden_BQD[:, -asked:], normed_BQD[:, -asked:].flatten(0, 1)
            turns = Turns(*(table_ND.view(rows, tokens, -1)[:, -asked:].flatten(0, 1) for table_ND in turns))
        query = turned(attention.q_proj(normed_ND), turns, attention.head_dim).view(rows, asked, -1, attention.head_dim)
        options = self._sight(asked, tokens, key.dtype) | {"enable_gqa": key.shape[2] != query.shape[2]}
        seen = sdpa(query, key, value, scale=attention.scaling, **options)
        hidden_BQD = attention.o_proj(seen.flatten(2)).add_(hidden_BQD)
        return mlp(rms_norm(hidden_BQD, layer.post_attention_layernorm), layer.mlp).add_(hidden_BQD)

    def _keep(self, number: int, begin: int, key_BQHE: Tensor, value_BQHE: Tensor) -> tuple[Tensor, Tensor]:
        """Keep a layer's keys and values; return (B, L, H, E) of all kept so far."""
        if number == len(self._kept):
            rows, _, heads, entries = key_BQHE.shape
            key_BWHE, value_BWHE = (
                key_BQHE.new_empty(rows, heads, self._width, entries).transpose(1, 2) for _ in range(2)
            )
            self._kept.append((key_BWHE, value_BWHE))
        key_BWHE, value_BWHE = self._kept[number]
        key_BWHE[:, begin : self._end], value_BWHE[:, begin : self._end] = key_BQHE, value_BQHE
        return key_BWHE[:, : self._end], value_BWHE[:, : self._end]

    def _sight(self, asked: int, tokens: int, dtype: torch.dtype) -> dict[str, Any]:
        """Which of the kept tokens the last ``asked`` ones see: no padding, nothing behind themselves."""
        if self._unread_BW is None:
            return {"is_causal": asked > 1}  # nothing was kept before a step of several tokens
        unseen_B1AL = self._unread_BW[:, None, None, : self._end]
        if asked > 1:
            later_QQ = torch.ones(tokens, tokens, dtype=torch.bool, device=unseen_B1AL.device).triu_(1)
            own_QQ = torch.eye(tokens, dtype=torch.bool, device=unseen_B1AL.device)
            unseen_B1AL = (unseen_B1AL | later_QQ) & ~own_QQ  # padding sees itself: the softmax of nothing is no number
        mask = torch.zeros(unseen_B1AL.shape, dtype=dtype, device=unseen_B1AL.device)
        return {"attn_mask": mask.masked_fill_(unseen_B1AL, -torch.inf)}


class GrowingCache(Cache):  # type: ignore[misc] # transformers is untyped here
    """Keys and values in buffers allocated once: appending a token writes one column instead of copying all.

    Args:
        layers: transformer layers.
        width: most tokens that will be cached.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__(layers=[_GrowingLayer(width) for _ in range(layers)])


class _GrowingLayer(DynamicLayer):  # type: ignore[misc] # likewise
    """One layer's buffers; ``keys`` and ``values`` are views of the filled part."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._width = width
        self.is_initialized: bool = False

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append the new columns; return everything cached so far."""
        start = self.get_seq_length()
        if not self.is_initialized:
            self.dtype, self.device = key_states.dtype, key_states.device
            self._keys = key_states.new_empty(*key_states.shape[:2], self._width, key_states.shape[-1])
            self._values = value_states.new_empty(*value_states.shape[:2], self._width, value_states.shape[-1])
            self.is_initialized = True
        end = start + key_states.shape[-2]
        self._keys[:, :, start:end] = key_states
        self._values[:, :, start:end] = value_states
        self.keys, self.values = self._keys[:, :, :end], self._values[:, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only these rows."""
        end = self.get_seq_length()
        self._keys, self._values = self._keys[indices], self._values[indices]
        self.keys, self.values = self._keys[:, :, :end], self._values[:, :, :end]
