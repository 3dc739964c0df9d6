"""Archive: copy labels, demonstrations and interactions into append-only segments, and keep them no longer than due.

The same task deletes what is past its retention and works off erasures, because both reach the archive.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from feedback import archives, demonstrations, erasure, interactions, labels, tombstones
from feedback.client import Ledger
from feedback.records import Demonstration, Interaction, Record
from feedback.tombstones import Tombstones
from workers.settings import WorkerSettings

DAY_S = 86_400
SOURCES: dict[str, Callable[[Ledger, str], Iterator[tuple[str, Record]]]] = {
    "labels": labels.read,
    "demonstrations": demonstrations.read,
    "interactions": interactions.read,
}


def archive(ledger: Ledger, settings: WorkerSettings, now: Callable[[], float] = time.time) -> dict[str, int]:
    """Write what is new into segments under ``<artifact root>/archive``; return stream -> records written.

    Interactions without consent are passed over. Interactions that are archived and curated leave the ledger's log
    when there are more than ``interactions_kept`` or they are older than ``interaction_days``; archived ones are
    deleted after ``retention_days``. Then every erasure that is due gets a pass.
    """
    written: dict[str, int] = {}
    with _alone(settings.artifact_root / "archive") as root:
        if root is None:
            return written
        erased = tombstones.read(ledger)
        for name, read in SOURCES.items():
            (root / name).mkdir(exist_ok=True)
            entries = read(ledger, archives.cursor(root / name))
            written[name] = archives.append(root / name, entries, lambda record: wanted(record, erased))
        archived = archives.cursor(root / "interactions")
        if archived != "-":
            interactions.trim(ledger, archived, settings.interactions_kept, settings.interaction_days * DAY_S, now)
        archives.expire(root / "interactions", now() - settings.retention_days * DAY_S)
        erasure.work_on_all(ledger, settings.artifact_root, now)
    return written


def wanted(record: Record, erased: Tombstones) -> bool:
    """Tell whether a record may be archived."""
    if isinstance(record, Interaction):
        mark = erased.by_customer.get(record.customer)
        return record.consent and not (mark is not None and mark.covers(record.customer, record.created_at))
    return not (isinstance(record, Demonstration) and erased.cover_derived(record.customer, record.created_at))


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
