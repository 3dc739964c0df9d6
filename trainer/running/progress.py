"""Progress of one stage for people and for the trainer service.

A bar with the time left in a terminal, a plain line every few seconds elsewhere; trackers get every step,
``progress.json`` is replaced atomically at most once a second. Knows numbers and which of them people read first.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from tqdm import tqdm

from feedback.errors import Diverged
from trainer.running.checkpoint import write_json
from trainer.running.layout import PROGRESS_FILE
from trainer.running.trackers import JsonLines, TensorBoard, Trackers

_LINE_EVERY_S = 5.0
_FILE_EVERY_S = 1.0
_MOST_SHOWN = 5
SHOWN = {
    "loss": "loss",
    "accuracy": "accuracy",
    "episodes": "episodes",
    "objective/scores": "reward",
    "objective/kl": "KL",
    "episode/eos_rate": "EOS",
    "episode/length_tokens": "tokens",
    "grad_norm": "norm",
    "lr": "lr",
}
"""Metric -> its word in a line or bar, which has room for the first five that a stage has; others follow."""


class Progress:
    """Counts steps of a stage and shows them; use as a context manager."""

    def __init__(
        self,
        stage: str,
        steps: int,
        directory: Path | None = None,
        *,
        start: int = 0,
        stream: TextIO | None = None,
        tensorboard: bool = False,
    ) -> None:
        """Begin at step ``start`` of ``steps``.

        Args:
            stage: name shown.
            steps: how many there will be.
            directory: where ``metrics.jsonl`` and ``progress.json`` go; None writes neither.
            start: steps done before, when a run resumes; later lines of ``metrics.jsonl`` are dropped.
            stream: where lines or the bar go; standard error by default.
            tensorboard: write event files into the directory, too.
        """
        self.stage, self.steps, self.step, self.start = stage, steps, start, start
        self.stream = stream or sys.stderr
        self._began_s = self._line_s = time.monotonic()
        self._file_s = -math.inf
        self._metrics: dict[str, float] = {}
        self._bar: tqdm[Any] | None = None
        if self.stream.isatty():
            self._bar = tqdm(total=steps, initial=start, desc=stage, file=self.stream, dynamic_ncols=True)
        self._progress_file = directory / PROGRESS_FILE if directory else None
        self._trackers = Trackers(self._say)
        for make in (JsonLines, TensorBoard) if tensorboard else (JsonLines,):
            if directory is not None:
                self._trackers.add(make, directory, start)

    def __enter__(self) -> Progress:
        """Write the first state."""
        self._write_file()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the last state and close the log and the bar."""
        self._write_file()
        if self._bar is not None:
            self._bar.close()
        elif kind is None:
            self._print_line()
        self._trackers.close()

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the average speed so far; None before the first step."""
        done = self.step - self.start
        if done <= 0:
            return None
        return (self.steps - self.step) * (time.monotonic() - self._began_s) / done

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record that ``step`` steps are done, with this step's metrics by their published names."""
        self.step = step
        self._metrics = {name: float(value) for name, value in metrics.items()}
        now_s = time.monotonic()
        self._trackers.log(step, self._metrics)
        if now_s - self._file_s >= _FILE_EVERY_S:
            self._write_file()
        if self._bar is not None:
            self._bar.set_postfix_str(self._shown(), refresh=False)
            self._bar.update(step - self._bar.n)
        elif now_s - self._line_s >= _LINE_EVERY_S:
            self._print_line()

    def _shown(self) -> str:
        known = [name for name in SHOWN if name in self._metrics]
        names = [*known, *(name for name in self._metrics if name not in SHOWN)][:_MOST_SHOWN]
        return "  ".join(f"{SHOWN.get(name, name)} {self._metrics[name]:.4g}" for name in names)

    def _say(self, line: str) -> None:
        tqdm.write(f"{self.stage}: {line}", file=self.stream)

    def _print_line(self) -> None:
        self._line_s = time.monotonic()
        left = "" if self.eta_s is None else f", {self.eta_s:.0f} s left"
        print(f"{self.stage} {self.step}/{self.steps}{left}  {self._shown()}".rstrip(), file=self.stream, flush=True)

    def _write_file(self) -> None:
        self._file_s = time.monotonic()
        self._trackers.flush()
        if self._progress_file is not None:
            eta_s = self.eta_s
            write_json(
                self._progress_file,
                {
                    "stage": self.stage,
                    "step": self.step,
                    "steps": self.steps,
                    "eta_s": None if eta_s is None else round(eta_s, 1),
                    "metrics": self._metrics,
                },
            )


def require_finite(value: float, what: str, stage: str, step: int) -> float:
    """Return ``value``; a run whose loss is no number stops before it ruins the weights.

    Raises:
        Diverged: ``value`` is NaN or infinite; names stage, step and quantity.
    """
    if not math.isfinite(value):
        raise Diverged(f"{stage} step {step}: {what} is {value}; lower --lr, or look at this step's data")
    return value
