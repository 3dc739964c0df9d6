"""Shows people how the stages of a round come forward: one bar per stage in a terminal, log lines elsewhere.

Knows what ``progress.json`` of a stage holds; does not know stages.
"""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from feedback import log
from trainer.running.progress import Progress

logger = log.get(__name__)
_LINE_EVERY_S = 30.0


class Display:
    """What a service shows of the round that it walks."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Draw on ``stream``, standard error by default, if it is a terminal."""
        self._stream = stream or sys.stderr
        self._bar: Progress | None = None
        self._line_s = 0.0

    def begin(self, stage: str) -> None:
        """Say that a stage begins, or goes on after an interruption."""
        self._line_s = time.monotonic()
        logger.info("stage began", stage=stage)

    def show(self, progress: dict[str, Any]) -> None:
        """Show a state of the running stage: ``stage``, ``step``, ``steps``, ``eta_s`` and ``metrics``."""
        if self._stream.isatty():
            if self._bar is None:
                self._bar = Progress(
                    progress["stage"], progress["steps"], start=progress["step"], stream=self._stream
                ).__enter__()
            self._bar.update(progress["step"], progress.get("metrics", {}))
        elif time.monotonic() - self._line_s >= _LINE_EVERY_S:
            self._line_s = time.monotonic()
            figures = {name: progress.get(name) for name in ("stage", "step", "steps", "eta_s")}
            logger.info("stage goes on", **figures, **progress.get("metrics", {}))

    def end(self) -> None:
        """Leave the stage's bar as it is: the stage is over, or was stopped."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
