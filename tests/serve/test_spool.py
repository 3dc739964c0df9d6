import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feedback.errors import ConfigError
from serve.spool import TIDY_BYTES, Spool

MIB = 1 << 20


Open = Callable[..., Spool]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """A function that opens the spool in ``tmp_path``; whatever is still open is closed at the end."""
    spools: list[Spool] = []

    def open_spool(max_bytes: int = MIB, segment_bytes: int = 4096) -> Spool:
        spools.append(Spool(tmp_path, max_bytes, segment_bytes))
        return spools[-1]

    yield open_spool
    for spool in spools:
        spool.close()


def drain(spool: Spool) -> list[tuple[str, bytes]]:
    """Read everything, marking it done."""
    found = []
    while (record := spool.peek()) is not None:
        found.append(record)
        spool.done()
    return found


RECORDS = [(f"id-{number}", os.urandom(300)) for number in range(40)]


def test_records_come_back_in_order_across_segments(opened: Open, tmp_path: Path) -> None:
    spool = opened()
    assert spool.append(RECORDS[:15]) == 15
    assert spool.append(RECORDS[15:]) == 25
    assert len(list(tmp_path.glob("*.spool"))) > 1
    assert drain(spool) == RECORDS


def test_what_was_not_done_is_there_after_a_restart(opened: Open, tmp_path: Path) -> None:
    first = opened()
    first.append(RECORDS[:10])
    first.peek()
    first.close()
    second = opened()
    second.append(RECORDS[10:])
    assert drain(second) == RECORDS


def test_peek_repeats_until_done(opened: Open, tmp_path: Path) -> None:
    spool = opened()
    spool.append(RECORDS[:2])
    assert spool.peek() == spool.peek() == RECORDS[0]
    spool.done()
    assert spool.peek() == RECORDS[1]


@pytest.mark.parametrize("cut_bytes", [1, 5, 200])
def test_a_torn_tail_is_cut_off_and_the_rest_survives(opened: Open, tmp_path: Path, cut_bytes: int) -> None:
    first = opened(segment_bytes=MIB)
    first.append(RECORDS)
    first.close()
    file = next(tmp_path.glob("*.spool"))
    os.truncate(file, file.stat().st_size - cut_bytes)
    second = opened()
    assert second.torn_bytes > 0
    assert drain(second) == RECORDS[:-1]


def test_a_damaged_record_ends_its_segment_not_the_spool(opened: Open, tmp_path: Path) -> None:
    first = opened()
    first.append(RECORDS[:14])
    first.append(RECORDS[14:15])
    first.close()
    oldest = sorted(tmp_path.glob("*.spool"))[0]
    data = bytearray(oldest.read_bytes())
    data[-10] ^= 0xFF
    oldest.write_bytes(data)
    assert drain(opened()) == [*RECORDS[:13], RECORDS[14]]


def test_a_full_spool_keeps_what_fits_and_says_how_many(opened: Open, tmp_path: Path) -> None:
    spool = opened(max_bytes=2000)
    kept = spool.append(RECORDS)
    assert kept == 6
    assert spool.append(RECORDS[6:7]) == 0
    assert spool.size_bytes <= 2000
    assert drain(spool) == RECORDS[:6]


def test_done_segments_are_deleted_and_make_room(opened: Open, tmp_path: Path) -> None:
    spool = opened(max_bytes=2 * TIDY_BYTES, segment_bytes=MIB)
    big = [("big", os.urandom(TIDY_BYTES))]
    for _ in range(5):
        assert spool.append(big) == 1
        assert drain(spool) == big
    assert list(tmp_path.glob("*.spool")) == []
    assert spool.size_bytes == 0


def test_closing_a_finished_spool_leaves_nothing_to_replay(opened: Open, tmp_path: Path) -> None:
    first = opened()
    first.append(RECORDS)
    drain(first)
    first.close()
    assert drain(opened()) == []


def test_two_processes_cannot_share_a_spool(opened: Open, tmp_path: Path) -> None:
    first = opened()
    with pytest.raises(ConfigError, match="in use"):
        opened()
    first.close()
    opened()


def test_a_spool_that_cannot_be_created_is_a_setting_that_is_wrong(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot use"):
        Spool(tmp_path / "file", MIB, 4096)
