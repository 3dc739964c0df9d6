"""Tells people how the demonstration goes: lines with the elapsed time, one moving line in a terminal."""

from __future__ import annotations

import time

from rich.console import Console
from rich.status import Status

QUIET_S = 10.0
"""Where there is no terminal, a progress line at most this often."""


class Narrator:
    """Writes to standard output; use as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        """Begin the clock."""
        self.console = console or Console(highlight=False)
        self.began_s = time.monotonic()
        self._said_s = 0.0
        self._status: Status | None = None

    def __enter__(self) -> Narrator:
        """Begin the moving line."""
        if self.console.is_terminal:
            self._status = self.console.status("starting")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the moving line."""
        if self._status is not None:
            self._status.stop()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began_s

    def say(self, line: str) -> None:
        """Write a line that stays."""
        self.console.print(f"{self._clock()}  {line}", markup=False, soft_wrap=True)

    def progress(self, what: str, detail: str) -> None:
        """Show what is waited for."""
        if self._status is not None:
            self._status.update(f"{self._clock()}  {what}: {detail}")
        elif time.monotonic() - self._said_s >= QUIET_S:
            self._said_s = time.monotonic()
            self.console.print(f"{self._clock()}  ... {what}: {detail}", markup=False, soft_wrap=True)

    def _clock(self) -> str:
        minutes, seconds = divmod(int(self.elapsed_s), 60)
        return f"{minutes:2d}:{seconds:02d}"
