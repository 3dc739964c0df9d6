"""A polite end: SIGTERM waits for the step under way, so that its work is in a checkpoint.

Knows a signal and a deadline; does not know steps or checkpoints. Where no step is under way (models are loading,
results are written) the signal ends the process at once; the next start goes on from the last checkpoint.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_STOPPED = 143
"""Exit code of a run that SIGTERM ended: 128 + 15, as a shell reports it."""
GRACE_S = 6.0
"""Longest wait for a step to end; the service kills what is still there after ten seconds."""


class Stop:
    """Whether this process was told to end; use as a context manager around the whole run.

    Attributes:
        asked: SIGTERM has come.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        """Wait at most ``grace_s`` seconds for a step."""
        self.asked = False
        self._grace_s = grace_s
        self._waits = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Stop:
        """Listen; only the main thread may, elsewhere this does nothing."""
        if threading.current_thread() is threading.main_thread():
            for number, handler in ((signal.SIGTERM, self._ask), (signal.SIGALRM, self._late)):
                self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}

    @contextmanager
    def after_steps(self) -> Iterator[None]:
        """Inside, the signal only sets ``asked``, for as long as a step may take; the caller looks after each step."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    def now(self, message: str) -> None:
        """End the process with one line on standard error.

        Raises:
            SystemExit: always; it passes ``except Exception``, and cleaning up is done on its way.
        """
        print(f"stopped: {message}; the same command goes on from there", file=sys.stderr, flush=True)
        raise SystemExit(EXIT_STOPPED)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            return
        self.asked = True
        if not self._waits:
            self.now("between steps")
        signal.setitimer(signal.ITIMER_REAL, self._grace_s)

    def _late(self, _number: int, _frame: FrameType | None) -> None:
        self.now(f"a step took longer than {self._grace_s:g} s, so its work is not in the last checkpoint")
