"""How a record lies on disk: one frame, found again even behind damaged bytes.

Pure: bytes in, frames out. A frame is ``magic | crc32 | length | id length | time | id | payload``; the checksum covers
all behind it. The magic holds a byte that no UTF-8 text has, so that no customer's words can be taken for a frame.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from feedback.errors import InvalidRecord

MAGIC = b"\xffWS1"
START = struct.Struct(">4sI")
"""Magic, CRC-32 of what follows."""
REST = struct.Struct(">IHd")
"""Bytes of id and payload, bytes of the id, unix time of writing."""
HEADER_BYTES = START.size + REST.size
MAX_RECORD_BYTES = 16 << 20
"""A length beyond this is damage, not a record."""


class Frame(NamedTuple):
    """One record as it was read."""

    id: str
    payload: bytes
    written_at: float
    """Unix time, seconds."""
    end: int
    """Where the frame ends in the bytes that were scanned."""
    skipped: int
    """Damaged bytes before it."""


def require_fitting(id: str, payload: bytes) -> None:
    """Refuse a record that no reader would take.

    Raises:
        InvalidRecord: it is too large.
    """
    if len(id.encode()) + len(payload) > MAX_RECORD_BYTES:
        raise InvalidRecord(f"record {id} of {len(payload)} bytes is larger than {MAX_RECORD_BYTES}")


def pack(id: str, payload: bytes, written_at: float) -> bytes:
    """Return the frame of one record that fits (see `require_fitting`)."""
    name = id.encode()
    rest = REST.pack(len(name) + len(payload), len(name), written_at) + name + payload
    return START.pack(MAGIC, zlib.crc32(rest)) + rest


def scan(data: bytes) -> Iterator[Frame]:
    """Yield the whole and undamaged frames of ``data`` in order, passing over what is damaged."""
    position = good = 0
    while (position := data.find(MAGIC, position)) >= 0:
        frame = _frame_at(data, position, skipped=position - good)
        if frame is None:
            position += 1
        else:
            position = good = frame.end
            yield frame


def _frame_at(data: bytes, position: int, skipped: int) -> Frame | None:
    if position + HEADER_BYTES > len(data):
        return None
    _, checksum = START.unpack_from(data, position)
    length, id_length, written_at = REST.unpack_from(data, position + START.size)
    begin = position + HEADER_BYTES
    end = begin + length
    if length > MAX_RECORD_BYTES or id_length > length or end > len(data):
        return None
    if zlib.crc32(memoryview(data)[position + START.size : end]) != checksum:
        return None
    name = data[begin : begin + id_length].decode()
    return Frame(name, data[begin + id_length : end], written_at, end, skipped)
