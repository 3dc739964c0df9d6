"""Which rows go through a model together.

Knows lengths, the token budget of a pass and which models need no padding; does not know what the passes compute.

Dimension letters: B rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel

from trainer.models.packing import can_pack
from trainer.models.scalar import ScalarModel

PASS_COST_TOKENS = {"cpu": 96, "cuda": 4096}
"""Tokens of padding that take as long as one more pass through a model; CPU from a 1 M parameter one, GPU a guess."""


def passes(lengths_B: Tensor, micro_batch_tokens: int, *, packed: bool) -> Iterator[Tensor]:
    """Row indices in order of length, cut into passes of at most so many tokens (one row at least).

    Args:
        lengths_B: (B,) tokens of each row.
        micro_batch_tokens: most in one pass; padding counts, where there is some.
        packed: rows are run without padding, so that only their tokens count.
    """
    if not packed:
        yield from length_batches(lengths_B, micro_batch_tokens)
        return
    order = torch.argsort(lengths_B, stable=True)
    start, tokens = 0, 0
    for end, length in enumerate(lengths_B[order].tolist()):
        if end > start and tokens + length > micro_batch_tokens:
            yield order[start:end]
            start, tokens = end, 0
        tokens += length
    yield order[start:]


def can_all_pack(*models: PreTrainedModel | ScalarModel) -> bool:
    """Whether all these models can be run without padding (`trainer.models.packing.can_pack`)."""
    return all(can_pack(model.trunk if isinstance(model, ScalarModel) else model) for model in models)


def length_batches(lengths_B: Tensor, micro_batch_tokens: int) -> Iterator[Tensor]:
    """Row indices in order of length, cut into passes.

    A pass is cut off where rows x longest row would pass the budget (one row at least), or where the padding that
    longer rows bring to the shorter ones would cost more than a pass of their own.
    """
    order = torch.argsort(lengths_B, stable=True)
    lengths = lengths_B[order].tolist()
    start, padding, most_padding = 0, 0, PASS_COST_TOKENS[lengths_B.device.type]
    for end in range(1, len(lengths) + 1):
        if end < len(lengths):
            padding += (lengths[end] - lengths[end - 1]) * (end - start)
            fits = lengths[end] * (end + 1 - start) <= micro_batch_tokens
            if fits and padding <= most_padding:
                continue
        yield order[start:end]
        start, padding = end, 0
