"""The second copy: what people judged, written again into archive segments, apart from the ledger's Redis.

Labels, demonstrations, adjudications and reviews of demonstrations, entry by entry; and the comparisons that were
labelled, without which a label says nothing. Knows what belongs into the copy and what an erasure leaves of it; the
segments are `feedback.archives`, holding them against the ledger is `feedback.reconcile`.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from feedback import archives, keys, labels, tombstones
from feedback.client import Ledger
from feedback.records import Adjudication, Comparison, Demonstration, DemonstrationReview, Label, Record
from feedback.tombstones import Tombstones

Entry = tuple[str, Any]
"""Entry id, record."""


class Source(NamedTuple):
    """A stream that is copied."""

    stream: str
    kind: type[Any]


SOURCES = {
    "labels": Source(keys.LABELS, Label),
    "demonstrations": Source(keys.DEMONSTRATIONS, Demonstration),
    "adjudications": Source(keys.ADJUDICATIONS, Adjudication),
    "demonstration-reviews": Source(keys.DEMONSTRATION_REVIEWS, DemonstrationReview),
}
COMPARISONS = "comparisons"


def copy(ledger: Ledger, root: Path) -> dict[str, int]:
    """Write what is new into segments under ``root``/archive, on disk when this returns; return name -> records.

    Nothing is written while another process does the same.
    """
    written: dict[str, int] = {}
    with alone(root) as directory:
        if directory is None:
            return written
        erased = tombstones.read(ledger)
        for name in (*SOURCES, COMPARISONS):
            (directory / name).mkdir(exist_ok=True)
            after = archives.cursor(directory / name)
            if name == COMPARISONS:
                entries, kind = labelled(ledger, after), Comparison
            else:
                entries, kind = stream(ledger, SOURCES[name], after), SOURCES[name].kind
            written[name] = archives.append(directory / name, entries, partial(belongs, kind, erased))
            archives.merge(directory / name)
    return written


def belongs(kind: type[Record], erased: Tombstones, record: Record) -> bool:
    """Tell whether a record is of this kind and may be in the copy."""
    return isinstance(record, kind) and wanted(record, erased)


def stream(ledger: Ledger, source: Source, after: str = "-") -> Iterator[Entry]:
    """Yield (entry id, record) of a stream as it is copied."""
    for entry_id, record in ledger.stream(source.stream, source.kind, after):
        yield entry_id, as_copied(record)


def labelled(ledger: Ledger, after: str) -> Iterator[Entry]:
    """Yield (entry id of a label, its comparison); the label itself where its comparison came before or is gone."""
    seen: set[str] = set()
    for entry_id, label in labels.read(ledger, after):
        known = label.comparison_id in seen
        seen.add(label.comparison_id)
        found = None if known else ledger.get(keys.comparison(label.comparison_id), Comparison)
        yield entry_id, found or label


def as_copied(record: Any) -> Any:
    """Return a record without what is not copied: reviewers' comments, which may quote and train nothing."""
    return msgspec.structs.replace(record, comment="") if isinstance(record, DemonstrationReview) else record


def as_erased(record: Any, erased: Tombstones) -> Any:
    """Return what an erasure leaves of a record: labels and adjudications of erased comparisons lose their notes."""
    if isinstance(record, Label | Adjudication) and record.comparison_id in erased.comparisons:
        return msgspec.structs.replace(record, note="")
    return record


def wanted(record: Record, erased: Tombstones) -> bool:
    """Tell whether a record may be in the copy."""
    if isinstance(record, Comparison):
        return record.id not in erased.comparisons and not erased.cover_derived(record.customer, record.created_at)
    return not (isinstance(record, Demonstration) and erased.cover_derived(record.customer, record.created_at))


@contextmanager
def alone(root: Path) -> Iterator[Path | None]:
    """Yield the archive's directory, or None while another process writes answers there."""
    directory = root / "archive"
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / ".answers.lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield None
        return
    try:
        yield directory
    finally:
        os.close(descriptor)
