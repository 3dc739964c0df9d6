"""A write-ahead spool: records on disk, in order, until somebody else has them.

Knows frames, segment files and fsync; does not know what a record means or where it goes. What `Spool.append` returned
is on disk. What a crash left unfinished is cut off when the spool is opened; what is damaged in the middle is passed
over and counted, and the records behind it are found. Read at least once: after a crash, records that were done may
come again.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from threading import RLock

from feedback.artifacts import sync
from feedback.errors import ConfigError
from serve.recording.frames import Frame, pack, scan
from serve.recording.ownership import own, require_plain_file

TIDY_BYTES = 256 << 10
"""Once everything is done, a file of at least this size is deleted rather than filled up."""
READ_BYTES = 1 << 20
"""How much of a segment is looked at in one go."""


class Segment:
    """One file of the spool."""

    def __init__(self, path: Path, size_bytes: int = 0) -> None:
        self.path = path
        self.size_bytes = size_bytes


class Spool:
    """A bounded queue of (id, payload) on disk; one writer, one reader, each its own thread."""

    def __init__(
        self, directory: Path, max_bytes: int, segment_bytes: int, now: Callable[[], float] = time.time
    ) -> None:
        """Open or create the spool and cut off what a crash left unfinished.

        Raises:
            ConfigError: the directory cannot be used, is a link or somebody else's, or another process uses it.
        """
        self.directory = directory
        self.max_bytes = max_bytes
        self.segment_bytes = segment_bytes
        self.torn_bytes = 0
        """Bytes cut off the ends of segments when the spool was opened."""
        self.damaged_bytes = 0
        """Bytes in the middle of segments that are no record (any more)."""
        self.found = 0
        """Records that an earlier process left."""
        self.size_bytes = 0
        """Bytes on disk; kept up to date, so that looking costs no lock."""
        self._now = now
        self._lock = RLock()  # also held during fsync, which delays only the reader
        self._owner = own(directory)
        try:
            self._segments = deque(self._repair(path) for path in sorted(directory.glob("*.spool")))
        except OSError as error:
            os.close(self._owner)
            raise ConfigError(f"the spool cannot read {directory}: {error}") from error
        self._sequence = int(self._segments[-1].path.stem) if self._segments else 0
        self._active: FileIO | None = None
        self._offset = 0
        """Where the next unread frame of the oldest segment begins."""
        self._ends: list[int] = []
        """Where the frames end that `peek` returned."""

    def append(self, records: Sequence[tuple[str, bytes]]) -> int:
        """Write the records with one fsync and return how many were kept; the rest did not fit.

        Raises:
            OSError: the disk refused; none of these records is kept.
        """
        frames: list[bytes] = []
        written_at = self._now()
        with self._lock:
            room = self.max_bytes - self.size_bytes
            for id, payload in records:
                frame = pack(id, payload, written_at)
                if len(frame) > room:
                    break
                room -= len(frame)
                frames.append(frame)
            if frames:
                self._write(b"".join(frames))
        return len(frames)

    def _write(self, data: bytes) -> None:
        file = self._open_active()
        segment = self._segments[-1]
        try:
            if file.write(data) != len(data):
                raise OSError("the disk took only a part")
            os.fsync(file.fileno())
        except OSError:
            # After a failed sync nobody knows what is on disk: this file gets no more records.
            with suppress(OSError):
                file.truncate(segment.size_bytes)
            self._close_active()
            if not segment.size_bytes:
                self._segments.pop()
                segment.path.unlink(missing_ok=True)
            raise
        segment.size_bytes += len(data)
        self.size_bytes += len(data)

    def _open_active(self) -> FileIO:
        if self._active is not None and self._segments[-1].size_bytes < self.segment_bytes:
            return self._active
        self._close_active()
        segment = Segment(self.directory / f"{self._sequence + 1:012d}.spool")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self._active = FileIO(os.open(segment.path, flags, 0o600), "wb")
        self._sequence += 1
        self._segments.append(segment)
        sync(self.directory)
        return self._active

    def _close_active(self) -> None:
        if self._active is not None:
            self._active.close()
            self._active = None

    def peek(self, most: int = 1, most_bytes: int = READ_BYTES) -> list[Frame]:
        """Return the oldest records that are not done, oldest first, all of one segment; empty if there are none.

        Call `done` before the next call, or get the same again. Always at least one record, however large.
        """
        with self._lock:
            while self._segments:
                oldest = self._segments[0]
                if self._offset < oldest.size_bytes:
                    found = self._read(oldest, most, most_bytes)
                    if found:
                        return found
                elif not self._discard(oldest):
                    break
        return []

    def _read(self, segment: Segment, most: int, most_bytes: int) -> list[Frame]:
        """Return the next frames; nothing if the rest of the segment is damaged, which is then passed over."""
        left = segment.size_bytes - self._offset
        length = min(left, READ_BYTES)
        while True:
            with segment.path.open("rb", buffering=0) as file:
                file.seek(self._offset)
                data = file.read(length)
            found: list[Frame] = []
            total = 0
            for frame in scan(data):
                total += len(frame.payload)
                if found and (len(found) == most or total > most_bytes):
                    break
                found.append(frame)
            if found or length == left:
                break
            length = min(left, 4 * length)
        if not found:
            self.damaged_bytes += left
            self._offset = segment.size_bytes
        self._ends = [self._offset + frame.end for frame in found]
        return found

    def done(self, count: int = 1) -> None:
        """Mark the first ``count`` records that `peek` returned as taken over."""
        if count:
            with self._lock:
                self._offset = self._ends[count - 1]
                self._ends = []

    def tidy(self) -> None:
        """Delete what is wholly done, also the file that was being filled; call when nothing happens for a while."""
        with self._lock:
            while self._segments and self._offset >= self._segments[0].size_bytes:
                self._discard(self._segments[0], also_active=True)

    def _discard(self, segment: Segment, *, also_active: bool = False) -> bool:
        """Delete the wholly read oldest segment unless it is still to be filled; tell whether it is gone."""
        if segment is self._segments[-1] and self._active is not None:
            if segment.size_bytes < TIDY_BYTES and not also_active:
                return False
            self._close_active()
        self._segments.popleft()
        self._offset = 0
        self.size_bytes -= segment.size_bytes
        segment.path.unlink(missing_ok=True)
        return True

    def close(self) -> None:
        """Let go of the directory; files that are wholly done are deleted. Safe to call twice."""
        with self._lock:
            if self._owner < 0:
                return
            self.tidy()
            self._close_active()
            os.close(self._owner)
            self._owner = -1

    def _repair(self, path: Path) -> Segment:
        """Return the segment, truncated behind its last whole frame."""
        require_plain_file(path)
        data = path.read_bytes()
        end = 0
        for frame in scan(data):
            self.damaged_bytes += frame.skipped
            self.found += 1
            end = frame.end
        if end < len(data):
            self.torn_bytes += len(data) - end
            os.truncate(path, end)
            sync(path)
        self.size_bytes += end
        return Segment(path, end)
