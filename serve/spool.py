"""A write-ahead spool: records on disk, in order, until somebody else has them.

Knows frames, segment files and fsync; does not know what a record means or where it goes. One frame is ``length |
crc32 | id length | id | payload``. What `Spool.append` returned is on disk; what was torn by a crash is cut off when
the spool is opened again. Read at least once: after a crash, records that were done already come again.
"""

import fcntl
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from threading import RLock
from typing import BinaryIO

from feedback.artifacts import sync
from feedback.errors import ConfigError

HEADER = struct.Struct(">IIH")
"""Bytes of the frame behind the header, CRC-32 of them, length of the id."""
MAX_RECORD_BYTES = 16 << 20
"""A length beyond this is damage, not a record."""
TIDY_BYTES = 256 << 10
"""Once everything is done, a file of at least this size is deleted rather than filled up."""


@dataclass
class Segment:
    """One file of the spool."""

    path: Path
    size_bytes: int


class Spool:
    """A bounded queue of (id, payload) on disk; one writer, one reader, each its own thread."""

    def __init__(self, directory: Path, max_bytes: int, segment_bytes: int) -> None:
        """Open or create the spool and cut off what a crash left unfinished.

        Raises:
            ConfigError: the directory cannot be used, or another process uses it.
        """
        self.directory = directory
        self.max_bytes = max_bytes
        self.segment_bytes = segment_bytes
        self.torn_bytes = 0
        """Bytes cut off when the spool was opened."""
        self._lock = RLock()  # also held during fsync, which delays only the reader
        self._owner = _own(directory)
        self._segments = deque(self._repair(path) for path in sorted(directory.glob("*.spool")))
        self._sequence = int(self._segments[-1].path.stem) if self._segments else 0
        self._active: FileIO | None = None
        self._reading: BinaryIO | None = None
        self._offset = 0
        """Where the next unread frame of the oldest segment begins."""
        self._next = 0
        """Where the frame behind it begins."""

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        with self._lock:
            return sum(segment.size_bytes for segment in self._segments)

    def append(self, records: Sequence[tuple[str, bytes]]) -> int:
        """Write the records with one fsync and return how many were kept; the rest did not fit.

        Raises:
            OSError: the disk refused; none of these records is kept.
        """
        frames: list[bytes] = []
        with self._lock:
            room = self.max_bytes - self.size_bytes
            for id, payload in records:
                frame = _frame(id, payload)
                if len(frame) > room:
                    break
                room -= len(frame)
                frames.append(frame)
            if frames:
                self._write(b"".join(frames))
        return len(frames)

    def _write(self, data: bytes) -> None:
        segment = self._open_active()
        file = self._active
        assert file is not None
        try:
            if file.write(data) != len(data):
                raise OSError("the disk took only a part")
            os.fsync(file.fileno())
        except OSError:
            file.truncate(segment.size_bytes)
            file.seek(segment.size_bytes)
            raise
        segment.size_bytes += len(data)

    def _open_active(self) -> Segment:
        if self._active is not None and self._segments[-1].size_bytes < self.segment_bytes:
            return self._segments[-1]
        if self._active is not None:
            self._active.close()
        self._sequence += 1
        segment = Segment(self.directory / f"{self._sequence:012d}.spool", 0)
        self._active = segment.path.open("wb", buffering=0)
        sync(self.directory)
        self._segments.append(segment)
        return segment

    def peek(self) -> tuple[str, bytes] | None:
        """Return the oldest record that is not done, or None; call `done` before the next."""
        with self._lock:
            while self._segments:
                oldest = self._segments[0]
                if self._offset < oldest.size_bytes:
                    return self._read(oldest)
                if not self._discard(oldest):
                    break
        return None

    def _discard(self, segment: Segment) -> bool:
        """Delete the wholly read oldest segment unless it is still to be filled; tell whether it is gone."""
        if segment is self._segments[-1] and self._active is not None:
            if segment.size_bytes < TIDY_BYTES:
                return False
            self._active.close()
            self._active = None
        if self._reading is not None:
            self._reading.close()
            self._reading = None
        self._segments.popleft()
        self._offset = 0
        segment.path.unlink(missing_ok=True)
        return True

    def _read(self, segment: Segment) -> tuple[str, bytes]:
        if self._reading is None:
            self._reading = segment.path.open("rb")
        self._reading.seek(self._offset)
        found = next(_frames(self._reading))
        self._next = self._offset + found[2]
        return found[0], found[1]

    def done(self) -> None:
        """Mark the record that `peek` returned as taken over."""
        with self._lock:
            self._offset = self._next

    def close(self) -> None:
        """Let go of the directory; files that are wholly done are deleted. Safe to call twice."""
        with self._lock:
            if self._owner < 0:
                return
            if self._active is not None:
                self._active.close()
                self._active = None
            while self._segments and self._offset >= self._segments[0].size_bytes:
                self._discard(self._segments[0])
            if self._reading is not None:
                self._reading.close()
            os.close(self._owner)
            self._owner = -1

    def _repair(self, path: Path) -> Segment:
        """Return the segment, truncated behind its last whole frame."""
        with path.open("rb") as file:
            good_bytes = sum(frame[2] for frame in _frames(file))
        torn_bytes = path.stat().st_size - good_bytes
        if torn_bytes:
            self.torn_bytes += torn_bytes
            os.truncate(path, good_bytes)
            sync(path)
        return Segment(path, good_bytes)


def _own(directory: Path) -> int:
    """Create the directory and lock it for this process; the descriptor holds the lock."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"the spool cannot use {directory}: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ConfigError(f"{directory} is in use; give each replica its own WHETSTONE_REPLICA") from error
    return descriptor


def _frame(id: str, payload: bytes) -> bytes:
    name = id.encode()
    body = name + payload
    return HEADER.pack(len(body), zlib.crc32(body), len(name)) + body


def _frames(file: BinaryIO) -> Iterator[tuple[str, bytes, int]]:
    """Yield (id, payload, bytes of the frame) until the end or the first frame that is torn or damaged."""
    while len(header := file.read(HEADER.size)) == HEADER.size:
        length, checksum, id_length = HEADER.unpack(header)
        if length > MAX_RECORD_BYTES or id_length > length:
            return
        body = file.read(length)
        if len(body) < length or zlib.crc32(body) != checksum:
            return
        yield body[:id_length].decode(), body[id_length:], HEADER.size + length
