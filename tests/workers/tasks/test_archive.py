import fcntl
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from feedback import archives, erasure, interactions
from feedback.archives import cursor
from feedback.client import Ledger
from feedback.records import Interaction
from feedback.tombstones import SETTLE_S
from workers.settings import WorkerSettings
from workers.tasks.archive import archive
from workers.tasks.curate import curate

Ask = Callable[..., Interaction]


def rows(directory: Path) -> list[dict[str, object]]:
    return [json.loads(row.record) for row in archives.read(directory)]


def test_each_record_is_archived_once(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    ids = [ask(f"question {number}").id for number in range(3)]
    assert archive(ledger, settings)["interactions"] == 3
    assert archive(ledger, settings)["interactions"] == 0
    ids.append(ask("one more").id)
    assert archive(ledger, settings)["interactions"] == 1
    assert [row["id"] for row in rows(settings.artifact_root / "archive/interactions")] == ids


def test_a_draft_left_by_a_crash_is_written_anew(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    ask("something")
    archive(ledger, settings)
    directory = settings.artifact_root / "archive/interactions"
    segment = next(directory.glob("*.jsonl.gz"))
    segment.rename(directory / f".{segment.name}.draft")
    assert archive(ledger, settings)["interactions"] == 1
    assert [path.name for path in directory.glob("[!.]*")] == [segment.name]


def test_interactions_without_consent_are_not_archived(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    ask("private", consent=False)
    assert archive(ledger, settings)["interactions"] == 0
    assert rows(settings.artifact_root / "archive/interactions") == []
    assert cursor(settings.artifact_root / "archive/interactions") != "-"


def test_two_archivers_do_not_write_at_once(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    ask("something")
    root = settings.artifact_root / "archive"
    root.mkdir()
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert archive(ledger, settings) == {}
    assert archive(ledger, settings)["interactions"] == 1


@pytest.mark.parametrize("curated", [True, False])
def test_only_what_is_archived_and_curated_leaves_the_ledger(
    ledger: Ledger, settings: WorkerSettings, ask: Ask, curated: bool
) -> None:
    few = settings.model_copy(update={"interactions_kept": 2})
    for number in range(6):
        ask(f"question {number}")
    if curated:
        curate(ledger, few)
    archive(ledger, few)
    left = len(list(interactions.read(ledger)))
    assert left == (2 if curated else 6)
    assert interactions.count(ledger) == 6


def test_old_interactions_leave_the_log_and_the_archive(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    ask("something")
    curate(ledger, settings)
    archive(ledger, settings)
    directory = settings.artifact_root / "archive/interactions"
    days = 24 * 3600
    archive(ledger, settings, lambda: time.time() + (settings.interaction_days + 1) * days)
    assert list(interactions.read(ledger)) == []
    assert len(rows(directory)) == 1
    archive(ledger, settings, lambda: time.time() + (settings.retention_days + 1) * days)
    assert rows(directory) == []
    assert archive(ledger, settings)["interactions"] == 0, "the cursor is where it was"


def test_an_erasure_that_was_asked_for_is_worked_off(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    made = ask("private words")
    archive(ledger, settings)
    receipt = erasure.request(ledger, made.customer, "olga")
    archive(ledger, settings)
    assert rows(settings.artifact_root / "archive/interactions") == []
    assert erasure.get(ledger, receipt.id).counts == {"interactions": 1, "archived": 1}
    archive(ledger, settings, lambda: time.time() + SETTLE_S + 1)
    assert erasure.get(ledger, receipt.id).state == "done"


def test_what_an_erased_customer_left_is_not_archived_anew(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    made = ask("private words")
    erasure.request(ledger, made.customer, "olga")
    assert archive(ledger, settings)["interactions"] == 0
