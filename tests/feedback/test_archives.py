"""Segments are whole or not there; rewriting and expiring leave the cursor where it was."""

import fcntl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from feedback import archives, segments
from feedback.client import encode
from feedback.errors import ArtifactCorrupt
from feedback.records import Interaction
from tests.builders import make_interaction


def entries(*milliseconds: int) -> list[tuple[str, Interaction]]:
    return [(f"{at}-0", make_interaction(f"at {at}")) for at in milliseconds]


def texts(directory: Path) -> list[str]:
    return [row.record for row in archives.read(directory)]


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


def several(directory: Path, count: int) -> None:
    for at in range(1, count + 1):
        archives.append(directory, entries(at), always)


def test_whole_segments_have_no_faults_and_rows_know_their_entries(tmp_path: Path) -> None:
    assert archives.faults(tmp_path) == []
    several(tmp_path, 3)
    assert archives.faults(tmp_path) == []
    assert [row.entry_id for row in archives.read(tmp_path)] == ["1-0", "2-0", "3-0"]


def test_a_segment_that_is_missing_is_seen(tmp_path: Path) -> None:
    several(tmp_path, 4)
    archives.segments(tmp_path)[2].unlink()
    assert len(archives.faults(tmp_path)) == 1
    assert "between 2-0_2-0.jsonl.gz and 4-0_4-0.jsonl.gz" in archives.faults(tmp_path)[0]
    archives.segments(tmp_path)[0].unlink()
    assert any("before 2-0_2-0.jsonl.gz" in fault for fault in archives.faults(tmp_path))


def test_a_damaged_segment_is_a_fault_and_no_row_of_it_is_read(tmp_path: Path) -> None:
    several(tmp_path, 3)
    path = archives.segments(tmp_path)[1]
    path.write_bytes(path.read_bytes()[:-9])
    (fault,) = archives.faults(tmp_path)
    assert path.name in fault
    with pytest.raises(ArtifactCorrupt, match=path.name):
        texts(tmp_path)


def test_small_segments_become_one_with_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MERGED_AT", 4)
    several(tmp_path, 3)
    assert archives.merge(tmp_path) == 0
    archives.append(tmp_path, entries(4), always)
    before = list(archives.read(tmp_path))
    assert archives.merge(tmp_path) == 4
    assert [path.name for path in archives.segments(tmp_path)] == ["1-0_4-0.jsonl.gz"]
    assert list(archives.read(tmp_path)) == before
    archives.append(tmp_path, entries(5), always)
    assert archives.faults(tmp_path) == []
    assert archives.cursor(tmp_path) == "5-0"


def test_a_merge_that_was_killed_leaves_no_row_twice_and_no_copy_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MERGED_AT", 2)
    several(tmp_path, 3)
    small = {path: path.read_bytes() for path in archives.segments(tmp_path)}
    archives.merge(tmp_path)
    for path, content in small.items():
        path.write_bytes(content)
    assert len(texts(tmp_path)) == 3
    assert archives.rewrite(tmp_path, lambda row: None) == 3, "an erasure must not leave the copies"
    assert [path.name for path in tmp_path.glob("[0-9]*")] == ["1-0_3-0.jsonl.gz"]


def test_what_earlier_versions_wrote_is_read_rewritten_and_followed(tmp_path: Path) -> None:
    rows = entries(1, 2)
    segments.write(segments.path_of(tmp_path, "1-0", "2-0"), [segments.Row(id, encode(row)) for id, row in rows], None)
    archives.append(tmp_path, entries(3), always)
    assert texts(tmp_path)[:2] == [encode(row) for _, row in rows]
    assert archives.faults(tmp_path) == []
    assert archives.rewrite(tmp_path, lambda row: None if "at 1" in row else row) == 1
    assert len(texts(tmp_path)) == 2
    assert archives.faults(tmp_path) == []


def test_who_rewrites_waits_for_who_rewrites(tmp_path: Path) -> None:
    several(tmp_path, 1)
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(archives.rewrite, tmp_path, lambda row: None)
            with pytest.raises(TimeoutError):
                waiting.result(0.2)
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert waiting.result(10) == 1
