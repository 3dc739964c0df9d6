"""Archive: copy labels, demonstrations and interactions into append-only segment files.

The names of the segments are the cursor: ``<first entry>_<last entry>.jsonl.gz``. A crash leaves either a whole segment
or a draft that is ignored, so nothing is archived twice and nothing is skipped.
"""

import fcntl
import gzip
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from feedback import demonstrations, interactions, labels
from feedback.artifacts import sync
from feedback.client import Ledger, encode
from feedback.records import Interaction, Record
from workers.settings import WorkerSettings

ENDING = ".jsonl.gz"
SEGMENT_ROWS = 10_000
"""Most records in one segment."""
SOURCES: dict[str, Callable[[Ledger, str], Iterator[tuple[str, Record]]]] = {
    "labels": labels.read,
    "demonstrations": demonstrations.read,
    "interactions": interactions.read,
}


def archive(ledger: Ledger, settings: WorkerSettings) -> dict[str, int]:
    """Write what is new into segments under ``<artifact root>/archive``; return stream -> records written.

    Interactions without consent are passed over. Interactions that are archived and curated are trimmed from the
    ledger down to ``interactions_kept``.
    """
    written: dict[str, int] = {}
    with _alone(settings.artifact_root / "archive") as root:
        if root is None:
            return written
        for name, read in SOURCES.items():
            (root / name).mkdir(exist_ok=True)
            written[name] = append(root / name, read(ledger, cursor(root / name)))
        archived = cursor(root / "interactions")
        if archived != "-":
            interactions.trim(ledger, archived, settings.interactions_kept)
    return written


def cursor(directory: Path) -> str:
    """Return the last stream entry that a directory's segments hold, ``-`` if they hold none."""
    ends = [path.name.removesuffix(ENDING).split("_")[1] for path in directory.glob(f"[0-9]*{ENDING}")]
    return max(ends, key=lambda end: tuple(map(int, end.split("-"))), default="-")


def append(directory: Path, entries: Iterable[tuple[str, Record]]) -> int:
    """Write the entries as new segments; return how many records are in them."""
    remaining = iter(entries)
    count = 0
    while rows := list(islice(remaining, SEGMENT_ROWS)):
        kept = [record for _, record in rows if not isinstance(record, Interaction) or record.consent]
        target = directory / f"{rows[0][0]}_{rows[-1][0]}{ENDING}"
        draft = directory / f".{target.name}.draft"
        with gzip.open(draft, "wt", encoding="utf-8") as file:
            file.writelines(f"{encode(record)}\n" for record in kept)
        sync(draft)
        draft.rename(target)
        sync(directory)
        count += len(kept)
    return count


@contextmanager
def _alone(root: Path) -> Iterator[Path | None]:
    """Yield ``root``, or None while another process archives there."""
    root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        yield root if _locked(descriptor) else None
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
