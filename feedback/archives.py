"""Archive segments: append-only files of records beside the ledger, named by the stream entries that they cover.

The names are the cursor: ``<first entry>_<last entry>.jsonl.gz``. A crash leaves either a whole segment or a draft that
is ignored, so nothing is archived twice and nothing is skipped. Knows files and rows; not who may be archived.
"""

import gzip
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from feedback.artifacts import sync
from feedback.client import encode
from feedback.records import Record

ENDING = ".jsonl.gz"
SEGMENT_ROWS = 10_000
"""Most records in one segment."""
Keep = Callable[[str], str | None]
"""Given a row's JSON, returns the JSON to keep in its place, or None to drop it."""


def segments(directory: Path) -> list[Path]:
    """Return a directory's segments, oldest first."""
    return sorted(directory.glob(f"[0-9]*{ENDING}"), key=_last)


def cursor(directory: Path) -> str:
    """Return the last stream entry that a directory's segments hold, ``-`` if they hold none."""
    found = segments(directory)
    return found[-1].name.removesuffix(ENDING).split("_")[1] if found else "-"


def append(directory: Path, entries: Iterable[tuple[str, Record]], wanted: Callable[[Record], bool]) -> int:
    """Write the wanted entries as new segments; return how many records are in them."""
    remaining = iter(entries)
    count = 0
    while rows := list(islice(remaining, SEGMENT_ROWS)):
        kept = [encode(record) for _, record in rows if wanted(record)]
        _write(directory / f"{rows[0][0]}_{rows[-1][0]}{ENDING}", kept)
        count += len(kept)
    return count


def rewrite(directory: Path, keep: Keep) -> int:
    """Pass every row of every segment through ``keep``; return how many were changed or dropped.

    A segment in which anything changes is replaced as a whole, in one rename; one that loses all rows stays as an empty
    file, because its name is part of the cursor.
    """
    changed = 0
    for path in segments(directory):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            before = file.read().splitlines()
        after = [keep(row) for row in before]
        different = sum(old != new for old, new in zip(before, after, strict=True))
        if different:
            _write(path, [row for row in after if row is not None])
            changed += different
    return changed


def expire(directory: Path, before_s: float) -> int:
    """Delete segments whose last row was logged before a moment (Unix time, seconds); return how many.

    The newest segment is emptied rather than deleted: it is the cursor.
    """
    found = segments(directory)
    old = [path for path in found if _last(path)[0] < before_s * 1000]
    for path in old:
        if path is found[-1]:
            _write(path, [])
        else:
            path.unlink()
    if old:
        sync(directory)
    return len(old)


def _last(path: Path) -> tuple[int, int]:
    milliseconds, sequence = path.name.removesuffix(ENDING).split("_")[1].split("-")
    return int(milliseconds), int(sequence)


def _write(target: Path, rows: list[str]) -> None:
    draft = target.parent / f".{target.name}.draft"
    with gzip.open(draft, "wt", encoding="utf-8") as file:
        file.writelines(f"{row}\n" for row in rows)
    sync(draft)
    draft.rename(target)
    sync(target.parent)
