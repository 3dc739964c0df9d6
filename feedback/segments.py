"""One archive segment: a gzipped file of records, each line with its checksum, sealed by a manifest.

Each line is ``<crc32> <entry> <record>``; the last one, ``# <manifest>``, counts and hashes them and says behind which
entry of the stream the segment begins, so that a damaged line, a cut file and a missing one are all seen. Segments of
earlier versions hold the bare records; they are read as they are. The name is ``<first entry>_<last entry>.jsonl.gz``.
"""

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from feedback.artifacts import sync
from feedback.errors import ArtifactCorrupt

ENDING = ".jsonl.gz"


class Row(NamedTuple):
    """One archived record."""

    entry_id: str
    """Its entry in the stream; empty in segments of earlier versions."""
    record: str
    """JSON."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of a segment."""

    count: int
    after: str
    """The entry behind which the segment begins; ``-`` if nothing came before."""
    last: str
    sha256: str
    """Of the lines before this one."""


def path_of(directory: Path, first: str, last: str) -> Path:
    """Return where the segment of these entries is."""
    return directory / f"{first}_{last}{ENDING}"


def span(path: Path) -> tuple[str, str]:
    """Return the first and the last entry that a segment covers, by its name."""
    first, last = path.name.removesuffix(ENDING).split("_")
    return first, last


def order(entry_id: str) -> tuple[int, int]:
    """Return an entry's milliseconds (Unix time) and sequence: its place in the stream."""
    milliseconds, sequence = entry_id.split("-")
    return int(milliseconds), int(sequence)


def read(path: Path) -> tuple[list[Row], Manifest | None]:
    """Return a segment's rows and its manifest, which segments of earlier versions do not have.

    Raises:
        ArtifactCorrupt: it is damaged or cut off; says where.
    """
    try:
        with gzip.open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise ArtifactCorrupt(f"{path.parent.name}/{path.name} cannot be read: {error}") from error
    if lines.pop() != b"" or path.stat().st_size == 0:
        raise ArtifactCorrupt(f"{path.parent.name}/{path.name} is cut off")
    if not lines or lines[0].startswith(b"{"):
        return [Row("", line.decode()) for line in lines], None
    kept = [_row(path, number, line) for number, line in enumerate(lines[:-1], 1)]
    try:
        manifest = msgspec.json.decode(lines[-1].removeprefix(b"# "), type=Manifest)
    except msgspec.MsgspecError as error:
        raise ArtifactCorrupt(f"{path.parent.name}/{path.name} has no manifest: {error}") from error
    if (manifest.count, manifest.sha256) != (len(kept), _sha256(lines[:-1])):
        raise ArtifactCorrupt(f"{path.parent.name}/{path.name} does not match its manifest")
    return kept, manifest


def write(target: Path, kept: list[Row], after: str | None) -> None:
    """Write a segment in one rename; without ``after`` in the form of earlier versions."""
    if after is None:
        lines = [row.record.encode() for row in kept]
    else:
        bodies = [f"{row.entry_id} {row.record}".encode() for row in kept]
        lines = [b"%08x %s" % (zlib.crc32(body), body) for body in bodies]
        manifest = Manifest(count=len(lines), after=after, last=span(target)[1], sha256=_sha256(lines))
        lines.append(b"# " + msgspec.json.encode(manifest))
    draft = target.parent / f".{target.name}.draft"
    with gzip.open(draft, "wb") as file:
        file.writelines(line + b"\n" for line in lines)
    sync(draft)
    draft.rename(target)
    sync(target.parent)


def _row(path: Path, number: int, line: bytes) -> Row:
    crc, _, rest = line.partition(b" ")
    if crc != b"%08x" % zlib.crc32(rest):
        raise ArtifactCorrupt(f"{path.parent.name}/{path.name}, line {number} is damaged")
    entry_id, _, record = rest.decode().partition(" ")
    return Row(entry_id, record)


def _sha256(lines: list[bytes]) -> str:
    return hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
