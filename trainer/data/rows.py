"""Rows of data files, whatever the file format, with bad ones named by file and line.

Knows JSONL (plain or gzip), Parquet and text with one document per line; does not know what the rows mean.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

import pyarrow as pa
import pyarrow.parquet as pq

from feedback.errors import DataError, InvalidRow

Parsed = TypeVar("Parsed")


class Row(NamedTuple):
    """One row and where it came from."""

    path: Path
    line: int
    fields: dict[str, Any]


class BadRows:
    """What to do with unusable rows: stop at the first, or set aside and count.

    Attributes:
        skip: set aside instead of raising.
        reasons: how many rows were set aside, by reason.
        examples: up to ten full messages of rows that were set aside.
    """

    def __init__(self, skip: bool = False) -> None:
        """Start with nothing set aside."""
        self.skip = skip
        self.reasons: Counter[str] = Counter()
        self.examples: list[str] = []

    def reject(self, path: Path, line: int, reason: str) -> None:
        """Raise the row's error, or count it.

        Args:
            path: the file.
            line: line (or Parquet row), from 1.
            reason: what is wrong; the part before the first colon is what is counted.

        Raises:
            InvalidRow: rows are not to be skipped.
        """
        message = f"{path}:{line}: {reason}"
        if not self.skip:
            raise InvalidRow(f"{message} (fix the row, or set bad rows aside with --skip-bad)")
        self.reasons[reason.split(":")[0]] += 1
        if len(self.examples) < 10:
            self.examples.append(message)

    @property
    def count(self) -> int:
        """How many rows were set aside."""
        return sum(self.reasons.values())


class Unusable(Exception):
    """Why one row cannot be used; turned into an error with file and line by ``parse_rows``."""


def read_rows(path: str | Path, bad: BadRows | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file in order.

    Args:
        path: ``.jsonl``, ``.jsonl.gz``, ``.parquet``, or ``.txt``, ``.txt.gz`` whose lines become ``{"text": line}``.
        bad: what to do with unreadable rows; stops at the first by default.

    Raises:
        DataError: the file is missing, unreadable or of an unknown kind.
        InvalidRow: a line is not UTF-8 or not a JSON object, and rows are not to be skipped.
    """
    for row in numbered_rows(path, bad or BadRows()):
        yield row.fields


def parse_rows(path: Path, bad: BadRows, parse: Callable[[Row], Parsed]) -> Iterator[Parsed]:
    """Yield ``parse(row)`` of every row; a row for which it raises ``Unusable`` goes to ``bad``."""
    for row in numbered_rows(path, bad):
        try:
            parsed = parse(row)
        except Unusable as error:
            bad.reject(row.path, row.line, str(error))
        else:
            yield parsed


def numbered_rows(path: str | Path, bad: BadRows) -> Iterator[Row]:
    """Yield rows with their line numbers; see ``read_rows``."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        yield from _parquet_rows(path)
    elif name.endswith(".txt"):
        for line, text in _text_lines(path, bad):
            yield Row(path, line, {"text": text})
    elif name.endswith((".jsonl", ".ndjson", ".json")):
        for line, text in _text_lines(path, bad):
            fields = _json_object(path, line, text, bad)
            if fields is not None:
                yield Row(path, line, fields)
    else:
        raise DataError(f"{path}: unknown kind of file; expected .jsonl, .jsonl.gz, .parquet, .txt or .txt.gz")


def _text_lines(path: Path, bad: BadRows) -> Iterator[tuple[int, str]]:
    """Yield non-blank lines decoded as UTF-8, numbered from 1."""
    line = 0
    try:
        with _open(path) as file:
            for line, raw in enumerate(file, start=1):
                if not raw.strip():
                    continue
                try:
                    yield line, raw.decode("utf-8-sig" if line == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    bad.reject(path, line, f"not UTF-8: byte {error.start} of the line")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: broken gzip after line {line}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.name.endswith(".gz") else path.open("rb")


def _json_object(path: Path, line: int, text: str, bad: BadRows) -> dict[str, Any] | None:
    try:
        fields = json.loads(text)
        text_of_surrogates = json.dumps(fields, ensure_ascii=False)
        text_of_surrogates.encode()
    except UnicodeEncodeError:
        bad.reject(path, line, "not Unicode: a lone surrogate")
    except (ValueError, RecursionError) as error:
        bad.reject(path, line, f"not JSON: {error}")
    else:
        if isinstance(fields, dict):
            return fields
        bad.reject(path, line, f"not a JSON object: {type(fields).__name__}")
    return None


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            line = 0
            for batch in file.iter_batches(batch_size=1024):
                for fields in batch.to_pylist():
                    line += 1
                    yield Row(path, line, {key: value for key, value in fields.items() if value is not None})
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}") from error
