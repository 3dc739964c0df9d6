"""Segments are whole or not there; rewriting and expiring leave the cursor where it was."""

import gzip
from pathlib import Path

import pytest

from feedback import archives
from feedback.client import encode
from feedback.records import Interaction
from tests.builders import make_interaction


def entries(*milliseconds: int) -> list[tuple[str, Interaction]]:
    return [(f"{at}-0", make_interaction(f"at {at}")) for at in milliseconds]


def texts(directory: Path) -> list[str]:
    found = []
    for path in archives.segments(directory):
        with gzip.open(path, "rt") as file:
            found += file.read().splitlines()
    return found


def always(record: object) -> bool:
    return True


def test_rows_come_back_and_the_names_say_how_far_it_got(tmp_path: Path) -> None:
    assert archives.cursor(tmp_path) == "-"
    rows = entries(5, 7)
    assert archives.append(tmp_path, rows, always) == 2
    assert texts(tmp_path) == [encode(record) for _, record in rows]
    assert archives.cursor(tmp_path) == "7-0"


def test_the_cursor_is_the_latest_entry_not_the_latest_name(tmp_path: Path) -> None:
    for at in (900, 1000, 950):
        archives.append(tmp_path, entries(at), always)
    assert archives.cursor(tmp_path) == "1000-0"


def test_what_is_not_wanted_is_passed_over_and_counts_as_read(tmp_path: Path) -> None:
    assert archives.append(tmp_path, entries(1, 2), lambda record: False) == 0
    assert texts(tmp_path) == []
    assert archives.cursor(tmp_path) == "2-0"


def test_long_logs_become_several_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SEGMENT_ROWS", 2)
    assert archives.append(tmp_path, entries(1, 2, 3, 4, 5), always) == 5
    assert len(archives.segments(tmp_path)) == 3


def test_rewriting_changes_and_drops_rows_and_leaves_other_segments_untouched(tmp_path: Path) -> None:
    for ats in ((1, 2), (3, 4)):
        archives.append(tmp_path, entries(*ats), always)
    untouched = archives.segments(tmp_path)[0].stat()
    changed = archives.rewrite(
        tmp_path, lambda row: None if "at 3" in row else row.replace("at 4", "changed") if "at 4" in row else row
    )
    assert changed == 2
    left = texts(tmp_path)
    assert len(left) == 3
    assert "changed" in left[-1]
    assert archives.segments(tmp_path)[0].stat().st_ino == untouched.st_ino
    assert archives.cursor(tmp_path) == "4-0"
    assert archives.rewrite(tmp_path, lambda row: row) == 0


def test_a_segment_that_loses_all_rows_keeps_its_place(tmp_path: Path) -> None:
    archives.append(tmp_path, entries(1, 2), always)
    assert archives.rewrite(tmp_path, lambda row: None) == 2
    assert texts(tmp_path) == []
    assert archives.cursor(tmp_path) == "2-0"


def test_old_segments_go_and_the_newest_stays_as_the_cursor(tmp_path: Path) -> None:
    for at in (1_000, 2_000, 3_000):
        archives.append(tmp_path, entries(at), always)
    assert archives.expire(tmp_path, 2.5) == 2
    assert len(texts(tmp_path)) == 1
    assert archives.expire(tmp_path, 10) == 1
    assert texts(tmp_path) == []
    assert archives.cursor(tmp_path) == "3000-0"


def test_a_draft_is_no_segment(tmp_path: Path) -> None:
    archives.append(tmp_path, entries(1), always)
    segment = archives.segments(tmp_path)[0]
    segment.rename(tmp_path / f".{segment.name}.draft")
    assert archives.segments(tmp_path) == []
