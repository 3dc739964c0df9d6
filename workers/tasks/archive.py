"""Archive: copy interactions into append-only segments, and keep them no longer than due.

The same task deletes what is past its retention and works off erasures, because both reach the archive. What people
judged is copied more often, by `feedback.copies`.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from feedback import archives, erasure, interactions, tombstones
from feedback.client import Ledger
from feedback.records import Interaction, Record
from feedback.tombstones import Tombstones
from workers.settings import WorkerSettings

DAY_S = 86_400


def archive(ledger: Ledger, settings: WorkerSettings, now: Callable[[], float] = time.time) -> dict[str, int]:
    """Write new interactions into segments under ``<artifact root>/archive``; return stream -> records written.

    Interactions without consent are passed over. Interactions that are archived and curated leave the ledger's log
    when there are more than ``interactions_kept`` or they are older than ``interaction_days``; archived ones are
    deleted after ``retention_days``. Then every erasure that is due gets a pass.
    """
    written: dict[str, int] = {}
    with _alone(settings.artifact_root / "archive") as root:
        if root is None:
            return written
        erased = tombstones.read(ledger)
        (root / "interactions").mkdir(exist_ok=True)
        entries = interactions.read(ledger, archives.cursor(root / "interactions"))
        written["interactions"] = archives.append(root / "interactions", entries, lambda each: wanted(each, erased))
        archives.merge(root / "interactions")
        archived = archives.cursor(root / "interactions")
        if archived != "-":
            interactions.trim(ledger, archived, settings.interactions_kept, settings.interaction_days * DAY_S, now)
        archives.expire(root / "interactions", now() - settings.retention_days * DAY_S)
        erasure.work_on_all(ledger, settings.artifact_root, now)
    return written


def wanted(record: Record, erased: Tombstones) -> bool:
    """Tell whether an interaction may be archived."""
    if not isinstance(record, Interaction):
        return False
    mark = erased.by_customer.get(record.customer)
    return record.consent and not (mark is not None and mark.covers(record.customer, record.created_at))


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
