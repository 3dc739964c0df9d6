"""Sequences as padded rectangles, and the order in which a stage goes through its examples.

Knows token ids, masks, seeds and cursors; does not know what the sequences are.

Dimension letters: B batch, T tokens of the longest sequence. Masks are 1 at real tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_BUCKET_BATCHES = 50
"""Batches whose rows are sorted by length together: enough to have hardly any padding, few enough to mix well."""


class Batch(NamedTuple):
    """Right-padded sequences.

    Attributes:
        input_ids_BT: (B, T) int64.
        attention_mask_BT: (B, T) int64, 1 at real tokens.
        target_mask_BT: (B, T) int64, 1 at completion tokens, EOS included: what supervised fine-tuning learns.
    """

    input_ids_BT: Tensor
    attention_mask_BT: Tensor
    target_mask_BT: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on another device."""
        return Batch(*(tensor.to(device) for tensor in self))


def pad(
    sequences: Sequence[Sequence[int]], pad_id: int, prompt_tokens: Sequence[int] | None = None, *, left: bool = False
) -> Batch:
    """Return sequences as one rectangle.

    Args:
        sequences: token ids; none may be empty.
        pad_id: fills short rows.
        prompt_tokens: how many tokens at each row's start are prompt, hence no target; none by default.
        left: put the padding before the sequence.

    Raises:
        ValueError: there is no sequence, or an empty one.
    """
    if not sequences or not all(sequences):
        raise ValueError("every sequence of a batch needs at least one token")
    width = max(map(len, sequences))
    ids, real, targets = [], [], []
    for row, sequence in enumerate(sequences):
        gap, prompt = width - len(sequence), prompt_tokens[row] if prompt_tokens else 0
        before, after = (gap, 0) if left else (0, gap)
        ids.append([pad_id] * before + list(sequence) + [pad_id] * after)
        real.append([0] * before + [1] * len(sequence) + [0] * after)
        targets.append([0] * (before + prompt) + [1] * (len(sequence) - prompt) + [0] * after)
    return Batch(torch.tensor(ids), torch.tensor(real), torch.tensor(targets))


def by_tokens(lengths: Sequence[int], most_tokens: int, sequences: Sequence[int] | None = None) -> Iterator[list[int]]:
    """Yield groups of item numbers, similar lengths together, each at most ``most_tokens`` padding included.

    Args:
        lengths: tokens of each item's longest sequence.
        most_tokens: of a group; a single item that is larger comes alone.
        sequences: how many sequences each item has; one by default.
    """
    group: list[int] = []
    height = 0
    for item in sorted(range(len(lengths)), key=lambda item: -lengths[item]):
        rows = sequences[item] if sequences else 1
        if group and lengths[group[0]] * (height + rows) > most_tokens:
            yield group
            group, height = [], 0
        group.append(item)
        height += rows
    if group:
        yield group


def by_total(tokens: Sequence[int], most_tokens: int) -> Iterator[list[int]]:
    """Yield groups of item numbers, the large ones first, each at most ``most_tokens`` without padding.

    Args:
        tokens: of each item, all its sequences together.
        most_tokens: of a group; a single item that is larger comes alone.
    """
    group: list[int] = []
    total = 0
    for item in sorted(range(len(tokens)), key=lambda item: -tokens[item]):
        if group and total + tokens[item] > most_tokens:
            yield group
            group, total = [], 0
        group.append(item)
        total += tokens[item]
    if group:
        yield group


class EpochOrder:
    """Row numbers batch by batch, each once an epoch, in an order drawn from (seed, epoch).

    One batch of an epoch is as small as it must be; nothing is dropped. The cursor is the number of batches. With
    ``lengths``, rows of similar length share a batch, so that little of it is padding.

    Attributes:
        cursor: batches taken so far.
        latest: row numbers of the batch that was taken last.
    """

    def __init__(self, rows: int, batch_size: int, seed: int, lengths: Sequence[int] | None = None) -> None:
        """Stand before the first batch of ``rows`` rows."""
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.cursor = 0
        self.latest: list[int] = []
        self._lengths = lengths
        self._epoch = -1
        self._batches: list[list[int]] = []

    @property
    def batches_per_epoch(self) -> int:
        """Batches in one epoch."""
        return -(-self.rows // self.batch_size)

    def next(self) -> list[int]:
        """Return the next batch's row numbers and move on."""
        epoch, batch = divmod(self.cursor, self.batches_per_epoch)
        self.cursor += 1
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._draw(epoch)
        self.latest = self._batches[batch]
        return self.latest

    def uses(self, batches: int) -> dict[int, int]:
        """Return how often each row comes in the first ``batches`` batches; the cursor stays where it is."""
        other = EpochOrder(self.rows, self.batch_size, self.seed, self._lengths)
        return dict(Counter(row for _ in range(batches) for row in other.next()))

    def _draw(self, epoch: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(self.rows, generator=generator).tolist()
        if self._lengths is None:
            return [order[start : start + self.batch_size] for start in range(0, self.rows, self.batch_size)]
        batches = []
        for start in range(0, self.rows, self.batch_size * _BUCKET_BATCHES):
            bucket = sorted(order[start : start + self.batch_size * _BUCKET_BATCHES], key=self._lengths.__getitem__)
            batches += [bucket[first : first + self.batch_size] for first in range(0, len(bucket), self.batch_size)]
        return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]
