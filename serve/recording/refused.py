"""Records that the ledger can never take: put aside with their reason, for a person to look at, and not for ever.

One bounded file beside the spool, one line a record: id, reason and payload, separated by tabs. Knows lines; does not
know why a record was refused.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from feedback.artifacts import sync

FILE = "refused"
MAX_BYTES = 1 << 20
"""Size beyond which records are counted elsewhere and not kept here."""


class Refused:
    """The file; used by one thread."""

    def __init__(self, directory: Path, max_age_s: float, now: Callable[[], float]) -> None:
        """Use the file in ``directory``.

        Args:
            directory: readable by this process's user alone.
            max_age_s: seconds without a new record after which the file is deleted.
            now: Unix time, seconds.
        """
        self._path = directory / FILE
        self._max_age_s = max_age_s
        self._now = now

    def add(self, id: str, reason: str, payload: bytes) -> bool:
        """Keep a record; return False if the file is full."""
        shown = reason.replace("\n", " ").replace("\t", " ")
        line = b"%s\t%s\t%s\n" % (id.encode(), shown.encode(), payload.replace(b"\n", b" "))
        if (self._path.stat().st_size if self._path.exists() else 0) + len(line) > MAX_BYTES:
            return False
        with os.fdopen(
            os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "ab"
        ) as file:
            file.write(line)
        return True

    def tidy(self, erased: Callable[[], Iterable[str]]) -> None:
        """Delete the file once it is old, and from it the records of erased customers.

        Args:
            erased: tells their names; asked only if there is a file.
        """
        if not self._path.exists():
            return
        if self._path.stat().st_mtime < self._now() - self._max_age_s:
            self._path.unlink()
            return
        names = [b'"customer":' + msgspec.json.encode(name) for name in erased()]
        lines = self._path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not any(name in line for name in names)]
        if len(kept) < len(lines):
            self._replace(kept)

    def _replace(self, lines: list[bytes]) -> None:
        before = self._path.stat()
        draft = self._path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(lines)
        os.utime(draft, (before.st_atime, before.st_mtime))
        draft.replace(self._path)
        sync(self._path.parent)
