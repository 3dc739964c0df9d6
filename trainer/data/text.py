"""Pretraining text as blocks of tokens, in an order that a seed fixes and a cursor resumes.

A block is a stretch of several documents packed one after the other, or one document by itself, so that it cannot be
seen by others. Knows documents, EOS separators and blocks; does not know models or losses.

Dimension letters: N blocks, B blocks of a batch, T tokens of a block.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from feedback.errors import ConfigError, DataError
from trainer.data.rows import BadRows, Row, Unusable, parse_rows

_DOCUMENTS_PER_CALL = 1000


class TextBlocks:
    """An endless, repeatable stream of blocks.

    Every epoch visits each block once in a new order drawn from (seed, epoch), so that the cursor, one integer, is
    the whole state.

    Attributes:
        blocks_NT: (N, T) int64 token ids.
        lengths_N: (N,) int64 real tokens of each block, from its start; T in packed ones.
        cursor: blocks taken so far.
    """

    def __init__(self, blocks_NT: Tensor, seed: int = 0, cursor: int = 0, lengths_N: Tensor | None = None) -> None:
        """Stand at ``cursor`` in the order of ``seed``; without ``lengths_N`` every block is full."""
        self.blocks_NT = blocks_NT
        self.lengths_N = torch.full((len(blocks_NT),), blocks_NT.shape[1]) if lengths_N is None else lengths_N
        self.seed = seed
        self.cursor = cursor
        self._epoch = -1
        self._order: list[int] = []

    def __len__(self) -> int:
        """Blocks in one epoch."""
        return len(self.blocks_NT)

    def take_ids(self, count: int) -> list[int]:
        """Return the indices of the next ``count`` blocks and move the cursor past them."""
        indices = [self._index(position) for position in range(self.cursor, self.cursor + count)]
        self.cursor += count
        return indices

    def take(self, count: int) -> Tensor:
        """Return the next ``count`` blocks, (B, T) int64, and move the cursor past them."""
        return self.blocks_NT[self.take_ids(count)]

    def take_rows(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the next ``count`` blocks without the columns that are padding in all of them, and their lengths."""
        indices = self.take_ids(count)
        lengths_B = self.lengths_N[indices]
        return self.blocks_NT[indices, : int(lengths_B.max())], lengths_B

    def split(self, fraction: float) -> tuple[TextBlocks, TextBlocks]:
        """Return (training, held-out) streams; the held-out blocks are an even sample, at least one if N > 1."""
        held = min(max(round(len(self) * fraction), 1 if fraction > 0 else 0), len(self) - 1)
        stride = len(self) / held if held else 0.0
        chosen = {int(number * stride + stride / 2) for number in range(held)}
        kept = [index for index in range(len(self)) if index not in chosen]
        return self._part(kept), self._part(sorted(chosen))

    def _part(self, indices: list[int]) -> TextBlocks:
        return TextBlocks(self.blocks_NT[indices], self.seed, lengths_N=self.lengths_N[indices])

    def _index(self, position: int) -> int:
        epoch, offset = divmod(position, len(self))
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = torch.randperm(len(self), generator=generator).tolist()
            self._epoch = epoch
        return self._order[offset]


def read_documents(paths: Sequence[str | Path], bad: BadRows | None = None) -> Iterator[str]:
    """Yield the documents of pretraining files.

    Raises:
        InvalidRow: a row has no ``text``, and rows are not to be skipped.
    """
    for path in paths:
        yield from parse_rows(Path(path), bad or BadRows(), _document)


def read_text_blocks(
    paths: Sequence[str | Path],
    tokenizer: PreTrainedTokenizerBase,
    block_tokens: int,
    *,
    seed: int = 0,
    bad: BadRows | None = None,
) -> TextBlocks:
    """Pack documents, each ended by EOS, into blocks of equal length; the incomplete last block is dropped.

    Args:
        paths: text files; see ``trainer.data.rows.read_rows``.
        tokenizer: encodes documents with the special tokens that it adds by itself.
        block_tokens: T.
        seed: of the order.
        bad: what to do with unusable rows.

    Raises:
        ConfigError: the tokenizer has no EOS, or T < 2.
        DataError: there is less text than one block.
    """
    if block_tokens < 2 or tokenizer.eos_token_id is None:
        raise ConfigError(f"block_tokens={block_tokens} must be at least 2 and the tokenizer must have an EOS token")
    eos = int(tokenizer.eos_token_id)
    stream: list[Tensor] = []
    documents = read_documents(paths, bad)
    while chunk := list(itertools.islice(documents, _DOCUMENTS_PER_CALL)):
        encoded = tokenizer(chunk, return_attention_mask=False, verbose=False)["input_ids"]
        ended = [ids if ids and ids[-1] == eos else [*ids, eos] for ids in encoded]
        stream.append(torch.tensor(list(itertools.chain.from_iterable(ended)), dtype=torch.int32))
    if bad is not None:
        bad.settle("text")
    tokens = torch.cat(stream) if stream else torch.empty(0, dtype=torch.int32)
    blocks = len(tokens) // block_tokens
    if blocks == 0:
        names = ", ".join(str(path) for path in paths)
        raise DataError(f"{names}: {len(tokens)} tokens of text do not fill one block of {block_tokens}")
    return TextBlocks(tokens[: blocks * block_tokens].view(blocks, block_tokens).long(), seed)


def _document(row: Row) -> str:
    text = row.fields.get("text")
    if not isinstance(text, str) or not text.strip():
        raise Unusable(f"`text` must be a non-empty string: got {type(text).__name__}")
    return text


def read_text_documents(
    paths: Sequence[str | Path],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    *,
    seed: int = 0,
    bad: BadRows | None = None,
) -> TextBlocks:
    """Return one block per document, ended by EOS; longer ones are cut and then have none.

    Args:
        paths: text files; see ``trainer.data.rows.read_rows``.
        tokenizer: encodes documents with the special tokens that it adds by itself.
        max_tokens: most tokens of a document, EOS included.
        seed: of the order.
        bad: what to do with unusable rows.

    Raises:
        DataError: there is no document of at least two tokens.
    """
    eos, pad = int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)
    rows: list[list[int]] = []
    documents = read_documents(paths, bad)
    while chunk := list(itertools.islice(documents, _DOCUMENTS_PER_CALL)):
        encoded = tokenizer(chunk, return_attention_mask=False, verbose=False)["input_ids"]
        rows += [(ids if ids and ids[-1] == eos else [*ids, eos])[:max_tokens] for ids in encoded]
    if bad is not None:
        bad.settle("text")
    rows = [row for row in rows if len(row) > 1]
    if not rows:
        raise DataError(f"{', '.join(str(path) for path in paths)}: no document of at least two tokens")
    width = max(map(len, rows))
    blocks_NT = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    return TextBlocks(blocks_NT, seed, lengths_N=torch.tensor([len(row) for row in rows]))
