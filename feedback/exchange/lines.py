"""Objects of a file, one after the other, with bounded memory: JSON lines or one JSON array, plain or gzip.

What cannot be used comes with its number and the reason, and hinders no other. Knows bytes and JSON; does not know
what the objects mean. Archives of several files are refused whole: nothing is ever unpacked by name.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import msgspec

from feedback.errors import DataError

MOST_LINE_BYTES = 16 << 20
"""Longest line; of a longer one no more than this is ever in memory."""
MOST_ARRAY_BYTES = 256 << 20
"""Largest file that is one JSON array; lines have no such limit."""
MOST_RATIO = 200
"""How much larger than its file unpacked content may be, beyond `ALWAYS_BYTES`."""
ALWAYS_BYTES = 64 << 20
GZIP = b"\x1f\x8b"
ARCHIVES = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
    b"\xfd7zX": "xz",
    b"BZh": "bzip2",
}
TAR_MARK = slice(257, 262)


class Bad(NamedTuple):
    """A line, or an element of an array, that is not used."""

    number: int
    """Of the line or the element, from 1."""
    reason: str


class Found(NamedTuple):
    """A JSON object and where it is."""

    number: int
    value: dict[str, Any]


def objects(path: Path, progress: Callable[[int], None] = lambda read: None) -> Iterator[Found | Bad]:
    """Yield the objects of a file in order, and what is none.

    Args:
        path: JSON lines or a JSON array; compressed if it begins as gzip does, whatever its name says.
        progress: told how many bytes of the file were read so far.

    Raises:
        DataError: the file is missing, an archive, broken, or larger unpacked than is borne.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with path.open("rb") as raw:
            _refuse_archives(path, raw.read(512))
            raw.seek(0)
            content = _Content(path, raw, progress)
            if content.first() == b"[":
                yield from _elements(path, content)
            else:
                yield from _lines(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: broken gzip: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


class _Content:
    """The unpacked bytes of a file, read in bounded pieces and counted."""

    def __init__(self, path: Path, raw: BinaryIO, progress: Callable[[int], None]) -> None:
        self._path, self._raw, self._progress = path, raw, progress
        packed = raw.read(2) == GZIP
        raw.seek(0)
        self._file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
        self._most = max(ALWAYS_BYTES, MOST_RATIO * path.stat().st_size) if packed else None
        self._unpacked = 0

    def first(self) -> bytes:
        """Return the first byte that is no white space and no byte order mark; the next read begins at the start."""
        head = self._file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
        self._file.seek(0)
        return head[:1]

    def line(self) -> bytes:
        """Return the next line, at most one byte more than is borne of it."""
        return self._counted(self._file.readline(MOST_LINE_BYTES + 1))

    def rest(self, most: int) -> bytes:
        """Return what is left, at most so many bytes."""
        return self._counted(self._file.read(most))

    def _counted(self, data: bytes) -> bytes:
        self._unpacked += len(data)
        if self._most is not None and self._unpacked > self._most:
            raise DataError(f"{self._path}: unpacks to more than {MOST_RATIO} times its size; refused")
        self._progress(self._raw.tell())
        return data


def _refuse_archives(path: Path, head: bytes) -> None:
    kind = next((name for mark, name in ARCHIVES.items() if head.startswith(mark)), "")
    if not kind and head[TAR_MARK] == b"ustar":
        kind = "tar"
    if not kind and head.startswith(GZIP):
        try:
            with gzip.open(path, "rb") as file:
                kind = "tar" if file.read(512)[TAR_MARK] == b"ustar" else ""
        except (EOFError, zlib.error):
            kind = ""  # broken: said when it is read
    if kind:
        raise DataError(f"{path}: a {kind} archive; only single files are read, plain or gzip. Unpack it and choose")


def _lines(content: _Content) -> Iterator[Found | Bad]:
    number = 0
    while line := content.line():
        number += 1
        if len(line) > MOST_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = content.line()
            yield Bad(number, f"longer than {MOST_LINE_BYTES >> 20} MiB")
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield _parsed(number, line)


def _elements(path: Path, content: _Content) -> Iterator[Found | Bad]:
    text = content.rest(MOST_ARRAY_BYTES + 1)
    if len(text) > MOST_ARRAY_BYTES:
        raise DataError(f"{path}: one JSON array of more than {MOST_ARRAY_BYTES >> 20} MiB; write it as JSON lines")
    try:
        elements = msgspec.json.decode(text.removeprefix(b"\xef\xbb\xbf"), type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: no JSON array: {error}") from error
    for number, element in enumerate(elements, 1):
        yield _parsed(number, bytes(element))


def _parsed(number: int, text: bytes) -> Found | Bad:
    try:
        value = msgspec.json.decode(text)
    except UnicodeDecodeError as error:
        return Bad(number, f"not UTF-8: byte {error.start}")
    except (msgspec.DecodeError, RecursionError) as error:
        return Bad(number, f"not JSON: {error}")
    return Found(number, value) if isinstance(value, dict) else Bad(number, "not a JSON object")
