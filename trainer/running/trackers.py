"""Where every step's metrics go: ``metrics.jsonl``, and TensorBoard's event files if wanted.

Knows names, steps and numbers; does not know what they mean. A tracker that fails (a full disk, say) is named once and
left out from then on: figures are worth less than the training that they describe.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TextIO

from trainer.running.layout import METRICS_LOG

TENSORBOARD = "tensorboard"
"""Directory of TensorBoard's event files in a run's output."""


class Tracker(Protocol):
    """Takes the metrics of one step after another."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics after ``step`` steps."""

    def flush(self) -> None:
        """Hand what was taken to the file system."""

    def close(self) -> None:
        """Flush and end."""


class JsonLines:
    """A line of JSON a step, with ``step`` and ``s``, seconds since this process began."""

    def __init__(self, directory: Path, start: int) -> None:
        """Open ``metrics.jsonl`` for appending, without the lines of steps that a resumed run will do again."""
        self._began_s = time.monotonic()
        self._file = _open_log(directory / METRICS_LOG, start)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write a line."""
        seconds = round(time.monotonic() - self._began_s, 3)
        self._file.write(json.dumps({"step": step, "s": seconds} | dict(metrics)) + "\n")

    def flush(self) -> None:
        """Hand the lines over."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard:
    """Scalars in event files under ``tensorboard/``, one file for each process that worked on the run.

    Written in this thread and at once: the library's own writer hands events to a thread behind a short queue, which
    stops the training for good when the disk is full.
    """

    def __init__(self, directory: Path, start: int) -> None:
        """Begin a file; where there are earlier ones, readers are told to forget their steps after ``start``."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import scalar

        self._event, self._scalar = Event, scalar
        folder = directory / TENSORBOARD
        folder.mkdir(exist_ok=True)
        again = any(folder.iterdir())
        self._writer = EventsWriter(str(folder / "events"), f".{start:08d}.{os.getpid()}")
        if again:
            restart = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(wall_time=time.time(), step=start + 1, session_log=restart))
            self._writer.flush()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one event a metric."""
        now_s = time.time()
        for name, value in metrics.items():
            self._writer.write_event(self._event(wall_time=now_s, step=step, summary=self._scalar(name, value)))

    def flush(self) -> None:
        """Hand the events over."""
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class Trackers:
    """Several trackers as one that never fails."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        """Begin with none; ``warn`` is given one line for each tracker that is lost."""
        self._warn = warn
        self._open: list[Tracker] = []

    def add(self, make: Callable[[Path, int], Tracker], directory: Path, start: int) -> None:
        """Open a tracker of a run's directory that goes on at step ``start``."""
        try:
            self._open.append(make(directory, start))
        except Exception as error:
            self._lost(getattr(make, "__name__", "tracker"), error)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Give every tracker the metrics of a step."""
        self._each(lambda tracker: tracker.log(step, metrics))

    def flush(self) -> None:
        """Flush every tracker."""
        self._each(lambda tracker: tracker.flush())

    def close(self) -> None:
        """Close every tracker."""
        self._each(lambda tracker: tracker.close())
        self._open = []

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for tracker in list(self._open):
            try:
                act(tracker)
            except Exception as error:  # whatever it is, the training goes on
                self._open.remove(tracker)
                self._lost(type(tracker).__name__, error)

    def _lost(self, name: str, error: Exception) -> None:
        self._warn(f"no more metrics for {name}: {type(error).__name__}: {error}")


def _open_log(path: Path, start: int) -> TextIO:
    """Open for appending, line by line, so that a process that is killed takes no line of a done step with it."""
    if path.exists():
        lines = [line for line in path.read_text().splitlines() if line.endswith("}")]
        kept = [line for line in lines if json.loads(line)["step"] <= start]
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text("".join(line + "\n" for line in kept))
        draft.replace(path)
    return path.open("a", buffering=1)
