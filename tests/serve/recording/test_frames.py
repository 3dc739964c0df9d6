"""Frames are found again behind any damage, and no text can be taken for one."""

import os

import pytest

from feedback.errors import InvalidRecord
from serve.recording.frames import HEADER_BYTES, MAGIC, MAX_RECORD_BYTES, pack, require_fitting, scan

FIRST, SECOND, THIRD = (pack(f"id-{number}", b"payload %d" % number, 1700000000.5 + number) for number in range(3))


def ids(data: bytes) -> list[str]:
    return [frame.id for frame in scan(data)]


def test_what_was_packed_comes_back_whole() -> None:
    found = list(scan(FIRST + SECOND))
    assert [(frame.id, frame.payload, frame.written_at, frame.skipped) for frame in found] == [
        ("id-0", b"payload 0", 1700000000.5, 0),
        ("id-1", b"payload 1", 1700000001.5, 0),
    ]
    assert [frame.end for frame in found] == [len(FIRST), len(FIRST + SECOND)]


@pytest.mark.parametrize("payload", [b"", b"\x00" * 1000, os.urandom(5000), "🦊".encode()])
def test_any_payload_round_trips(payload: bytes) -> None:
    assert [frame.payload for frame in scan(pack("x", payload, 0.0))] == [payload]


def test_a_flip_of_any_bit_of_a_frame_loses_that_frame_alone_and_says_how_much() -> None:
    for position in range(len(SECOND)):
        for bit in (0x01, 0x80):
            spoiled = bytearray(SECOND)
            spoiled[position] ^= bit
            found = list(scan(FIRST + bytes(spoiled) + THIRD))
            assert [frame.id for frame in found] == ["id-0", "id-2"], position
            assert found[1].skipped == len(SECOND)


def test_a_cut_anywhere_loses_only_the_last_frame() -> None:
    for length in range(len(SECOND)):
        assert ids(FIRST + SECOND[:length]) == ["id-0"]


def test_a_frame_inside_a_damaged_frame_would_be_found_so_text_must_not_hold_one() -> None:
    assert ids(bytes(HEADER_BYTES) + pack("forged", b"x", 0.0)) == ["forged"]
    with pytest.raises(UnicodeDecodeError):
        MAGIC.decode()


def test_rubbish_holds_no_frame() -> None:
    assert ids(b"") == ids(MAGIC) == ids(MAGIC * 1000) == ids(os.urandom(10_000)) == []


def test_a_record_that_no_reader_would_take_is_refused() -> None:
    require_fitting("id", bytes(MAX_RECORD_BYTES - 2))
    with pytest.raises(InvalidRecord, match="larger than"):
        require_fitting("id", bytes(MAX_RECORD_BYTES - 1))
