"""Archive: append-only directories of segments beside the ledger, named by the stream entries that they cover.

The names are the cursor. A crash leaves either a whole segment or a draft that is ignored, so nothing is archived twice
and nothing is skipped. Knows files and rows; what a file looks like is in `feedback.segments`, who may be archived is
said by the caller.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice, pairwise, takewhile
from pathlib import Path

from feedback import segments as files
from feedback.artifacts import sync
from feedback.client import encode
from feedback.errors import ArtifactCorrupt
from feedback.records import Record
from feedback.segments import ENDING, Manifest, Row, order, path_of, span

SEGMENT_ROWS = 10_000
"""Most records in one segment."""
MERGED_AT = 64
"""So many small segments in a row become one."""
SMALL_BYTES = 256 * 1024
Keep = Callable[[str], str | None]
"""Given a row's JSON, returns the JSON to keep in its place, or None to drop it."""


def segments(directory: Path) -> list[Path]:
    """Return a directory's segments, oldest first; not those whose rows a merged one has taken over."""
    return [path for path, covered in _found(directory) if not covered]


def cursor(directory: Path) -> str:
    """Return the last stream entry that a directory's segments hold, ``-`` if they hold none."""
    found = segments(directory)
    return span(found[-1])[1] if found else "-"


def read(directory: Path) -> Iterator[Row]:
    """Yield all rows of a directory, oldest first.

    Raises:
        ArtifactCorrupt: a segment is damaged.
    """
    for path in segments(directory):
        yield from files.read(path)[0]


def faults(directory: Path) -> list[str]:
    """Return what is wrong with a directory's segments, one line each: damage, and segments that are missing."""
    found: list[str] = []
    known: list[tuple[Path, Manifest | None]] = []
    for path in segments(directory):
        try:
            known.append((path, files.read(path)[1]))
        except ArtifactCorrupt as error:
            found.append(str(error))
            known.append((path, None))
    if known and known[0][1] is not None and known[0][1].after != "-":
        found.append(f"{directory.name}: what came before {known[0][0].name} is missing")
    for (before, _), (path, manifest) in pairwise(known):
        if manifest is not None and manifest.after != span(before)[1]:
            found.append(f"{directory.name}: a segment between {before.name} and {path.name} is missing")
    return found


def append(directory: Path, entries: Iterable[tuple[str, Record]], wanted: Callable[[Record], bool]) -> int:
    """Write the wanted entries as new segments; return how many records are in them."""
    remaining = iter(entries)
    count, after = 0, cursor(directory)
    while page := list(islice(remaining, SEGMENT_ROWS)):
        kept = [Row(entry_id, encode(record)) for entry_id, record in page if wanted(record)]
        files.write(path_of(directory, page[0][0], page[-1][0]), kept, after)
        count, after = count + len(kept), page[-1][0]
    return count


def rewrite(directory: Path, keep: Keep) -> int:
    """Pass every row of every segment through ``keep``; return how many were changed or dropped.

    A segment in which anything changes is replaced as a whole, in one rename; one that loses all rows stays as an empty
    file, because its name is part of the cursor.

    Raises:
        ArtifactCorrupt: a segment is damaged; those before it are rewritten.
    """
    changed = 0
    with _alone(directory):
        for path in segments(directory):
            before, manifest = files.read(path)
            after = [keep(row.record) for row in before]
            different = sum(old.record != new for old, new in zip(before, after, strict=True))
            if different:
                kept = [Row(row.entry_id, new) for row, new in zip(before, after, strict=True) if new is not None]
                files.write(path, kept, manifest.after if manifest else None)
                changed += different
    return changed


def merge(directory: Path) -> int:
    """Make one of the last segments if there are `MERGED_AT` small ones in a row; return how many were merged."""
    with _alone(directory):
        run = list(takewhile(lambda path: path.stat().st_size <= SMALL_BYTES, reversed(segments(directory))))[::-1]
        if len(run) < MERGED_AT:
            return 0
        sealed = [(path, kept, manifest) for path in run for kept, manifest in [files.read(path)] if manifest]
        if len(sealed) < MERGED_AT:
            return 0
        (first, _, manifest), last = sealed[0], sealed[-1][0]
        merged = path_of(directory, span(first)[0], span(last)[1])
        files.write(merged, [row for _, kept, _ in sealed for row in kept], manifest.after)
        _sweep(directory)
        return len(sealed)


def expire(directory: Path, before_s: float) -> int:
    """Delete segments whose last row was logged before a moment (Unix time, seconds); return how many.

    The newest segment is emptied rather than deleted: it is the cursor.
    """
    with _alone(directory):
        found = segments(directory)
        old = [path for path in found if order(span(path)[1])[0] < before_s * 1000]
        for path in old:
            if path is found[-1]:
                files.write(path, [], "-")
            else:
                path.unlink()
        if old:
            sync(directory)
    return len(old)


def _found(directory: Path) -> list[tuple[Path, bool]]:
    """Return (segment, whether a merged one covers it), oldest first."""
    paths = sorted(
        directory.glob(f"[0-9]*{ENDING}"), key=lambda path: (order(span(path)[1]), [-n for n in order(span(path)[0])])
    )
    reach: tuple[int, int] | None = None
    marked: list[tuple[Path, bool]] = []
    for path in reversed(paths):
        first = order(span(path)[0])
        covered = reach is not None and reach <= first
        marked.append((path, covered))
        reach = first if reach is None else min(reach, first)
    return marked[::-1]


def _sweep(directory: Path) -> None:
    """Delete what a merged segment covers."""
    for path, covered in _found(directory):
        if covered:
            path.unlink()
    sync(directory)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold a directory's segments against other processes, and clear what a merge that was killed left behind."""
    if not directory.is_dir():
        yield
        return
    descriptor = os.open(directory / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if any(covered for _, covered in _found(directory)):
            _sweep(directory)
        yield
    finally:
        os.close(descriptor)
