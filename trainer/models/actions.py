"""A causal model's log-probabilities at chosen positions only: the trunk runs on whole sequences, the head on those.

Knows the layout of ``rollouts`` (prompt, completion, padding on the right, so that causality is mask enough) and the
same without padding (`trainer.models.packing`); does not know losses. The head is applied to a few positions at a time
(`trainer.maths.logprobs`), so that with an output vocabulary of V no block of (chosen positions x V) is ever made.

Dimension letters: B sequences, T tokens, A actions of the longest completion, N chosen positions, D width,
V vocabulary, C positions of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from trainer.maths.logprobs import in_chunks, plain_head
from trainer.models.packing import Packed, packed_hidden


class Positions(NamedTuple):
    """Where predictions are read and what they predict.

    Attributes:
        row_N: (N,) int64 sequence.
        column_N: (N,) int64 position whose output predicts the next token.
        target_N: (N,) int64 that next token.
    """

    row_N: Tensor
    column_N: Tensor
    target_N: Tensor


def action_positions(input_ids_BT: Tensor, prompt_tokens_B: Tensor, mask_BA: Tensor) -> Positions:
    """The state before every action, and the action, row by row.

    Args:
        input_ids_BT: (B, T) prompt, completion, padding.
        prompt_tokens_B: (B,) length of the prompt, at least 1.
        mask_BA: (B, A) True at actions.
    """
    row_N, action_N = mask_BA.nonzero(as_tuple=True)
    column_N = prompt_tokens_B[row_N] - 1 + action_N
    return Positions(row_N, column_N, input_ids_BT[row_N, column_N + 1])


def text_positions(input_ids_BT: Tensor, lengths_B: Tensor) -> Positions:
    """Every token after the first of each sequence, for a language-model loss.

    Args:
        input_ids_BT: (B, T) tokens, padding.
        lengths_B: (B,) real tokens in each row.
    """
    columns_T = torch.arange(input_ids_BT.shape[1] - 1, device=input_ids_BT.device)
    row_N, column_N = (columns_T < lengths_B[:, None] - 1).nonzero(as_tuple=True)
    return Positions(row_N, column_N, input_ids_BT[row_N, column_N + 1])


def pack(input_ids_BT: Tensor, lengths_B: Tensor) -> Packed:
    """The same sequences in one row without padding."""
    rows = zip(input_ids_BT.tolist(), lengths_B.tolist(), strict=True)
    return Packed.of_sequences([row[:length] for row, length in rows], input_ids_BT.device)


def states_at(
    trunk: PreTrainedModel, input_ids_BT: Tensor, positions: Positions, packed: Packed | None = None
) -> Tensor:
    """(N, D) the trunk's output at the positions.

    Args:
        trunk: model without a head.
        input_ids_BT: (B, T) tokens, padding.
        positions: of the rectangle, whichever way the sequences are run.
        packed: the same sequences, to be run without padding; the trunk must be one that ``can_pack``.
    """
    if packed is not None:
        return packed_hidden(trunk, packed, packed.at(positions.row_N, positions.column_N))
    hidden_BTD = trunk(input_ids=input_ids_BT, use_cache=False).last_hidden_state
    return cast(Tensor, hidden_BTD[positions.row_N, positions.column_N])


def logprobs_at(
    model: PreTrainedModel,
    input_ids_BT: Tensor,
    positions: Positions,
    *,
    temperature: float,
    packed: Packed | None = None,
) -> Tensor:
    """(N,) float32 log-probabilities of the target tokens at this temperature, in nats; see ``statistics_at``."""

    def read(logits_CV: Tensor, target_C: Tensor) -> tuple[Tensor]:
        return (target_logprobs(logits_CV, target_C, temperature),)

    return _read(model, input_ids_BT, positions, packed, read)[0]


def statistics_at(
    model: PreTrainedModel,
    input_ids_BT: Tensor,
    positions: Positions,
    *,
    temperature: float,
    packed: Packed | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the target tokens, and entropies of the distributions that they were drawn from.

    Models whose logits are more than a linear head on the trunk (scaling, soft caps) are run in full, with padding.

    Args:
        model: causal language model.
        input_ids_BT: (B, T) tokens, padding.
        positions: where to read.
        temperature: of the logits.
        packed: the same sequences, to be run without padding.

    Returns:
        Both (N,) float32, in nats.
    """

    def read(logits_CV: Tensor, target_C: Tensor) -> tuple[Tensor, Tensor]:
        return target_logprobs(logits_CV, target_C, temperature), entropies(logits_CV, temperature)

    logprobs_N, entropies_N = _read(model, input_ids_BT, positions, packed, read)
    return logprobs_N, entropies_N


def target_logprobs(logits_NV: Tensor, target_N: Tensor, temperature: float) -> Tensor:
    """(N,) float32 log-probabilities of the targets; logits are raised to float32 before the normalisation."""
    return -F.cross_entropy(_tempered(logits_NV, temperature), target_N, reduction="none")


def entropies(logits_NV: Tensor, temperature: float) -> Tensor:
    """(N,) float32 entropy of each whole next-token distribution, in nats."""
    logprobs_NV = torch.log_softmax(_tempered(logits_NV, temperature), -1)
    return -(logprobs_NV.exp() * logprobs_NV).sum(-1)


def to_actions(entries_N: Tensor, mask_BA: Tensor) -> Tensor:
    """(B, A) float32 rectangle with the entries at the mask's ones, row by row, and 0 elsewhere."""
    filled_BA = torch.zeros(mask_BA.shape, device=entries_N.device)
    return filled_BA.masked_scatter(mask_BA, entries_N.float())


def _tempered(logits_NV: Tensor, temperature: float) -> Tensor:
    logits_NV = logits_NV.float()
    return logits_NV if temperature == 1.0 else logits_NV / temperature


def _read(
    model: PreTrainedModel,
    input_ids_BT: Tensor,
    positions: Positions,
    packed: Packed | None,
    read: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
) -> tuple[Tensor, ...]:
    """What ``read`` makes of (C, V) logits in the model's dtype and (C,) targets, for all positions."""
    head = plain_head(model)
    if head is None:
        full_BTV: Tensor = model(input_ids=input_ids_BT, use_cache=False).logits
        return read(full_BTV[positions.row_N, positions.column_N], positions.target_N)
    states_ND = states_at(model.base_model, input_ids_BT, positions, packed)
    vocabulary = int(cast(Tensor, head.weight).shape[0])

    def read_states(states_CD: Tensor, target_C: Tensor) -> tuple[Tensor, ...]:
        return read(head(states_CD), target_C)

    return in_chunks(read_states, vocabulary, states_ND, positions.target_N)
