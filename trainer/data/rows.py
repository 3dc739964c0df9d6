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
from trainer.settings.stages import StageSettings

QUARANTINE_FILE = "quarantine.jsonl"
"""Rows that a stage set aside, in its output directory."""

Parsed = TypeVar("Parsed")


class Row(NamedTuple):
    """One row and where it came from."""

    path: Path
    line: int
    fields: dict[str, Any]


class BadRows:
    """What to do with unusable rows: stop at the first, or set aside, up to a share of all.

    Attributes:
        skip: set aside instead of raising.
        seen: rows read, unusable ones included.
        reasons: how many rows were set aside, by reason.
        examples: up to ten full messages of rows that were set aside.
    """

    def __init__(self, skip: bool = False, *, quarantine: Path | None = None, max_share: float = 1.0) -> None:
        """Start with nothing set aside.

        Args:
            skip: set aside instead of raising.
            quarantine: file that lists what was set aside, a line each with file, line and reason; None writes none.
            max_share: largest share of a reading's rows that may be set aside.
        """
        self.skip = skip
        self.seen = 0
        self.reasons: Counter[str] = Counter()
        self.examples: list[str] = []
        self._quarantine, self._max_share = quarantine, max_share
        self._lines: list[str] = []
        self._settled = (0, 0)

    @classmethod
    def of(cls, settings: StageSettings, directory: Path | None) -> BadRows:
        """Return what a stage's settings say, with ``quarantine.jsonl`` in the run's directory if there is one."""
        quarantine = directory / QUARANTINE_FILE if directory else None
        return cls(settings.skip_bad, quarantine=quarantine, max_share=settings.max_bad_share)

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
        if self._quarantine is not None:
            self._lines.append(json.dumps({"file": str(path), "line": line, "reason": reason}, ensure_ascii=False))

    def settle(self, what: str) -> None:
        """Write the quarantine, and refuse what was read since the last call if too much of it was set aside.

        Args:
            what: was read, for the message.

        Raises:
            DataError: more than the largest share was set aside.
        """
        if self._quarantine is not None and self._lines:
            # Written anew each time, so that a run that is started again lists each row once.
            self._quarantine.write_text("".join(line + "\n" for line in self._lines))
        seen, count = self.seen - self._settled[0], self.count - self._settled[1]
        self._settled = (self.seen, self.count)
        if count > self._max_share * seen:
            where = f", listed in {self._quarantine}" if self._quarantine else ""
            raise DataError(
                f"{count} of {seen} rows of {what} are unusable{where}, more than --max-bad-share {self._max_share:g} "
                f"allows; the first: {self.examples[0]}"
            )

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
        yield from _parquet_rows(path, bad)
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
                bad.seen += 1
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


def _parquet_rows(path: Path, bad: BadRows) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            line = 0
            for batch in file.iter_batches(batch_size=1024):
                for fields in batch.to_pylist():
                    line += 1
                    bad.seen += 1
                    yield Row(path, line, {key: value for key, value in fields.items() if value is not None})
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}") from error
