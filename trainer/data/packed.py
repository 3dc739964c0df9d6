"""Sequences without padding: one row of tokens, a shared beginning once, and which stretch of the row attends to which.

Knows token ids, lengths and places; does not know models or attention functions (`trainer.models.packing`).

A *group* is a prompt with its K completions. Padded, it is K rows with the prompt in each. Packed, it is the prompt
once and each completion after it; positions of a completion go on from the prompt's end::

    padded      p p p a a .          packed      p p p | a a | b b b | c
                p p p b b b          positions   0 1 2   3 4   3 4 5   3
                p p p c . .          attends to  p       p,a   p,b     p,c

Dimension letters: N tokens of the row, S sequences, B rows of a rectangle, P tokens of its longest prefix, T tokens of
its longest row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

_SHORTEST_SHARE = 0.7
"""Of a bucket's longest piece that its shortest has at least, so that no more than half of the scores are padding."""


class _Piece(NamedTuple):
    """A prefix and the branches that go on from it; ``sequences`` are the callers' numbers of them."""

    prefix: Sequence[int]
    branches: list[Sequence[int]]
    sequences: list[int]

    @property
    def longest(self) -> int:
        return len(self.prefix) + max(map(len, self.branches), default=0)


class Stretch:
    """Consecutive pieces of the row, and how they become a rectangle of right-padded rows and a stretch again.

    Attributes:
        tokens: in all.
        width: of the rectangle: T.
        lengths_B: (B,) int64 tokens of each piece.
        place_n: (tokens,) int64 where each token lies in the flattened rectangle; None where nothing is padding.
        source_m: (B * T,) int64 the token at each place of the flattened rectangle; where padding is, any.
        padding_m1: (B * T, 1) bool, True at padding.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device | None = None) -> None:
        """Lay pieces of these lengths, each at least 1, one behind the other."""
        self.tokens, self.width = sum(lengths), max(lengths)
        self.lengths_B = torch.tensor(lengths, device=device)
        self.place_n: Tensor | None = None
        if self.tokens == len(lengths) * self.width:
            return
        columns_T = torch.arange(self.width, device=device)
        real_BT = columns_T < self.lengths_B[:, None]
        starts_B = self.lengths_B.cumsum(0) - self.lengths_B
        self.place_n = real_BT.flatten().nonzero().squeeze(1)
        self.source_m = torch.where(real_BT, starts_B[:, None] + columns_T, 0).flatten()
        self.padding_m1 = ~real_BT.reshape(-1, 1)


class Bucket:
    """Pieces of similar length whose attention is computed together: all prefixes, then all branches.

    Attributes:
        prefixes: of whole sequences too, which are prefixes that nothing goes on from.
        branches: None where there are none.
        prefix_B: (B,) int64 number of the prefix that each branch goes on from.
    """

    def __init__(self, pieces: Sequence[_Piece], device: torch.device | None = None) -> None:
        """Lay out ``pieces``, either all with branches or all without."""
        branches = [(number, branch) for number, piece in enumerate(pieces) for branch in piece.branches]
        self.prefixes = Stretch([len(piece.prefix) for piece in pieces], device)
        self.branches = Stretch([len(branch) for _, branch in branches], device) if branches else None
        self.prefix_B = torch.tensor([number for number, _ in branches], device=device)
        self._masks: dict[torch.dtype, Tensor] = {}

    def mask(self, dtype: torch.dtype) -> Tensor:
        """Return (B, 1, T, P + T) to add to scores of branches: 0 where prefix or branch may be seen, else -inf."""
        if dtype not in self._masks:
            assert self.branches is not None
            prefix_tokens_B, device = self.prefixes.lengths_B[self.prefix_B], self.prefix_B.device
            prefix_BP = torch.arange(self.prefixes.width, device=device) < prefix_tokens_B[:, None]
            columns_T = torch.arange(self.branches.width, device=device)
            rows, width = len(self.prefix_B), self.branches.width
            seen_BTL = torch.cat(
                [
                    prefix_BP[:, None].expand(rows, width, self.prefixes.width),
                    (columns_T <= columns_T[:, None]).expand(rows, width, width),
                ],
                dim=2,
            )
            self._masks[dtype] = torch.zeros(seen_BTL.shape, dtype=dtype, device=device).masked_fill_(
                ~seen_BTL, -torch.inf
            )[:, None]
        return self._masks[dtype]


@dataclass(frozen=True, eq=False)
class Packed:
    """Sequences in one row without padding.

    Attributes:
        input_ids_N: (N,) int64 tokens, in an order of the layout's own: read places with ``at`` or ``last_S``.
        position_ids_N: (N,) int64 position of each token in its sequence.
        buckets: what attends to what; their stretches follow one another in the row.
        length_S: (S,) int64 tokens of each sequence, in the order that the caller gave them.
        prefix_tokens_S: (S,) int64 how many of them it shares with its group; 0 where nothing is shared.
        prefix_start_S: (S,) int64 where in the row they begin.
        branch_start_S: (S,) int64 where its own tokens begin.
    """

    input_ids_N: Tensor
    position_ids_N: Tensor
    buckets: tuple[Bucket, ...]
    length_S: Tensor
    prefix_tokens_S: Tensor
    prefix_start_S: Tensor
    branch_start_S: Tensor

    @classmethod
    def of_sequences(cls, sequences: Sequence[Sequence[int]], device: torch.device | None = None) -> Packed:
        """Pack independent sequences.

        Raises:
            ValueError: there is no sequence, or an empty one.
        """
        return cls._lay([_Piece(tokens, [], [number]) for number, tokens in enumerate(sequences)], device)

    @classmethod
    def of_groups(
        cls,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[Sequence[int]]],
        device: torch.device | None = None,
    ) -> Packed:
        """Pack each prompt once with its completions; sequence s is the s-th completion of all, its prompt before it.

        Args:
            prompts: token ids.
            completions: of each prompt, any number; completion or prompt may be empty, not both.
            device: where the tensors go.

        Raises:
            ValueError: there is no sequence, or an empty one.
        """
        pieces: list[_Piece] = []
        count = 0
        for prompt, own in zip(prompts, completions, strict=True):
            numbers = list(range(count, count + len(own)))
            count += len(own)
            if len(own) < 2 or not prompt:  # nothing to share
                pieces += [_Piece([*prompt, *own[at]], [], [number]) for at, number in enumerate(numbers)]
            else:
                pieces.append(_Piece(prompt, list(own), numbers))
        return cls._lay(pieces, device)

    @classmethod
    def _lay(cls, pieces: list[_Piece], device: torch.device | None) -> Packed:
        if not pieces or not all(piece.prefix for piece in pieces):
            raise ValueError("every sequence of a batch needs at least one token")
        ids: list[int] = []
        positions: list[int] = []
        places: dict[int, tuple[int, int, int, int]] = {}
        buckets = []
        for bucket in _bucketed(pieces):
            starts = list(accumulate((len(piece.prefix) for piece in bucket), initial=len(ids)))
            for piece in bucket:
                ids += piece.prefix
                positions += range(len(piece.prefix))
            for piece, start in zip(bucket, starts, strict=False):
                tokens = len(piece.prefix)
                if not piece.branches:
                    places[piece.sequences[0]] = (tokens, 0, 0, start)
                for number, branch in zip(piece.sequences, piece.branches, strict=False):
                    places[number] = (tokens + len(branch), tokens, start, len(ids))
                    ids += branch
                    positions += range(tokens, tokens + len(branch))
            # A completion without a token ends where its prompt does: its place is known, and nothing attends for it.
            buckets.append(
                Bucket([piece._replace(branches=[b for b in piece.branches if b]) for piece in bucket], device)
            )
        columns = torch.tensor([places[number] for number in range(len(places))], device=device).unbind(1)
        return cls(torch.tensor(ids, device=device), torch.tensor(positions, device=device), tuple(buckets), *columns)

    def at(self, sequence_M: Tensor, column_M: Tensor) -> Tensor:
        """Return (M,) int64 places in the row of token ``column`` of ``sequence``, both int64 and of any one shape."""
        prefix_M = self.prefix_tokens_S[sequence_M]
        own_M = self.branch_start_S[sequence_M] + column_M - prefix_M
        return torch.where(column_M < prefix_M, self.prefix_start_S[sequence_M] + column_M, own_M)

    @cached_property
    def last_S(self) -> Tensor:
        """(S,) int64 place in the row of each sequence's last token."""
        return self.at(torch.arange(len(self.length_S), device=self.length_S.device), self.length_S - 1)


def _bucketed(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """Pieces with branches apart from those without, and of each the long ones apart from the short ones."""
    buckets: list[list[_Piece]] = []
    for shared in (True, False):
        longest = 0.0
        for piece in sorted((p for p in pieces if any(p.branches) == shared), key=lambda p: -p.longest):
            if piece.longest < _SHORTEST_SHARE * longest or not longest:
                buckets.append([])
                longest = piece.longest
            buckets[-1].append(piece)
    return buckets
