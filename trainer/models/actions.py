"""A causal model's log-probabilities at chosen positions only: the trunk runs on whole sequences, the head on those.

Knows the layout of ``rollouts`` (prompt, completion, padding on the right, so that causality is mask enough); does not
know losses. With an output vocabulary of V, memory is one (chosen positions x V) block instead of (B x T x V).

Dimension letters: B sequences, T tokens, A actions of the longest completion, N chosen positions, D width,
V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from trainer.maths.logprobs import plain_head


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


def logits_at(model: PreTrainedModel, input_ids_BT: Tensor, positions: Positions) -> Tensor:
    """(N, V) logits at the positions, in the model's dtype.

    Models whose logits are more than a linear head on the trunk (scaling, soft caps) are run in full.
    """
    head = plain_head(model)
    if head is None:
        full_BTV: Tensor = model(input_ids=input_ids_BT, use_cache=False).logits
        return full_BTV[positions.row_N, positions.column_N]
    hidden_BTD = model.base_model(input_ids=input_ids_BT, use_cache=False).last_hidden_state
    logits_NV: Tensor = head(hidden_BTD[positions.row_N, positions.column_N])
    return logits_NV


def logprobs_at(model: PreTrainedModel, input_ids_BT: Tensor, positions: Positions, *, temperature: float) -> Tensor:
    """(N,) float32 log-probabilities of the target tokens at this temperature, in nats."""
    return target_logprobs(logits_at(model, input_ids_BT, positions), positions.target_N, temperature)


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
