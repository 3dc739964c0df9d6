import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feedback.errors import ConfigError
from serve.recording.frames import MAGIC
from serve.recording.spool import READ_BYTES, TIDY_BYTES, Spool

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


def drain(spool: Spool, most: int = 7) -> list[tuple[str, bytes]]:
    """Read everything, marking it done."""
    found: list[tuple[str, bytes]] = []
    while frames := spool.peek(most):
        found += [(frame.id, frame.payload) for frame in frames]
        spool.done(len(frames))
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
    assert [frame.id for frame in spool.peek(5)] == [frame.id for frame in spool.peek(5)] == ["id-0", "id-1"]
    spool.done(1)
    assert [frame.id for frame in spool.peek(5)] == ["id-1"]


def test_a_batch_is_bounded_in_bytes_but_never_empty(opened: Open) -> None:
    spool = opened(segment_bytes=MIB)
    spool.append(RECORDS[:10])
    assert len(spool.peek(100, most_bytes=900)) == 3
    assert len(spool.peek(100, most_bytes=1)) == 1


def test_a_record_larger_than_one_look_is_read_whole(opened: Open) -> None:
    spool = opened(max_bytes=8 * MIB, segment_bytes=MIB)
    large = [("large", os.urandom(3 * READ_BYTES)), ("small", b"x")]
    assert spool.append(large) == 2
    assert drain(spool) == large


def test_a_cut_or_a_flip_at_every_byte_of_the_last_record_loses_that_record_alone(opened: Open, tmp_path: Path) -> None:
    first = opened(segment_bytes=MIB)
    first.append(RECORDS)
    first.close()
    file = next(tmp_path.glob("*.spool"))
    whole = file.read_bytes()
    last = whole.rindex(MAGIC)
    began = time.monotonic()
    for position in range(last, len(whole)):
        for spoiled in (whole[:position], whole[:position] + bytes([whole[position] ^ 0x40]) + whole[position + 1 :]):
            file.write_bytes(spoiled)
            again = opened(segment_bytes=MIB)
            assert [frame.id for frame in again.peek(100)] == [id for id, _ in RECORDS[:-1]], position
            assert again.torn_bytes == len(spoiled) - last
            assert again.damaged_bytes == 0
            again.close()
            assert file.stat().st_size == last, "the torn end is gone from the file"
    assert (time.monotonic() - began) / (2 * (len(whole) - last)) < 2


def test_damage_in_the_middle_is_passed_over_and_counted_and_the_records_behind_it_come(
    opened: Open, tmp_path: Path
) -> None:
    first = opened(segment_bytes=MIB)
    first.append(RECORDS)
    first.close()
    file = next(tmp_path.glob("*.spool"))
    data = bytearray(file.read_bytes())
    starts = [place for place in range(len(data)) if data.startswith(MAGIC, place)]
    for number in (3, 4, 20):
        data[starts[number] + 9] ^= 0xFF
    file.write_bytes(data)
    again = opened(segment_bytes=MIB)
    assert drain(again) == [record for number, record in enumerate(RECORDS) if number not in (3, 4, 20)]
    assert again.damaged_bytes == sum(starts[number + 1] - starts[number] for number in (3, 4, 20))
    assert (again.torn_bytes, again.found) == (0, 37)


def test_a_segment_that_rots_while_we_run_is_counted_and_blocks_nothing(opened: Open, tmp_path: Path) -> None:
    spool = opened(segment_bytes=1000)
    spool.append(RECORDS[:4])
    spool.append(RECORDS[4:8])
    oldest = min(tmp_path.glob("*.spool"))
    size = oldest.stat().st_size
    oldest.write_bytes(os.urandom(size))
    assert drain(spool) == RECORDS[4:8]
    assert spool.damaged_bytes == size


def test_a_large_spool_is_ready_within_two_seconds(opened: Open, tmp_path: Path) -> None:
    first = opened(max_bytes=128 * MIB, segment_bytes=4 * MIB)
    for number in range(100):
        first.append([(f"id-{number}-{each}", RECORDS[0][1] * 3) for each in range(500)])
    first.close()
    began = time.monotonic()
    again = opened(max_bytes=128 * MIB, segment_bytes=4 * MIB)
    assert time.monotonic() - began < 2
    assert again.found == 50_000


def test_a_segment_that_is_a_link_is_refused(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("text")
    (tmp_path / "000000000001.spool").symlink_to(tmp_path / "precious")
    with pytest.raises(ConfigError, match="is a link"):
        opened()
    assert (tmp_path / "precious").read_text() == "text"


def test_nobody_else_may_read_a_segment(opened: Open, tmp_path: Path) -> None:
    opened().append(RECORDS[:1])
    assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.spool")] == [0o600]


def test_tidying_leaves_no_byte_of_what_is_done_and_nothing_else_behind(opened: Open, tmp_path: Path) -> None:
    spool = opened()
    spool.append(RECORDS[:5])
    spool.tidy()
    assert drain(spool) == RECORDS[:5]
    spool.tidy()
    assert list(tmp_path.glob("*.spool")) == []
    assert spool.size_bytes == 0
    spool.append(RECORDS[5:6])
    assert drain(spool) == RECORDS[5:6]


def test_a_full_spool_keeps_what_fits_and_says_how_many(opened: Open, tmp_path: Path) -> None:
    spool = opened(max_bytes=2000)
    kept = spool.append(RECORDS)
    assert kept == 6
    assert spool.append(RECORDS[6:7]) == 0
    assert spool.size_bytes == sum(path.stat().st_size for path in tmp_path.glob("*.spool")) <= 2000
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
