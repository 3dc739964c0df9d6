"""The work on one round: its directory, its record in the ledger, its stages as children that can be stopped.

Every write carries the trainer's fencing number. Knows how a stage is run, shown and stopped; does not know the order
of stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from feedback import fence, log, metrics, rounds
from feedback.client import Ledger
from feedback.errors import LedgerUnavailable, StageFailed
from feedback.records import Round
from trainer.rounds.display import Display
from trainer.rounds.launch import run_stage
from trainer.settings.service import TrainerSettings

logger = log.get(__name__)
_TRAINING = ("sft", "start", "reward", "ensemble", "ppo")
"""Stages that take optimizer steps: in several processes if wanted, with TensorBoard's files."""


class Stopped(Exception):
    """The trainer was told to stop, or lost its right; the round can go on later."""


class Cancelled(Exception):
    """An operator does not want this round."""


class Work:
    """What all stages of a round have in common."""

    def __init__(
        self,
        settings: TrainerSettings,
        ledger: Ledger,
        record: Round,
        *,
        hold: Callable[[], bool] = lambda: True,
        number: int = fence.NO_FENCE,
        display: Display | None = None,
    ) -> None:
        """Bind a round to who works on it.

        Args:
            settings: of the service.
            ledger: where the round is recorded.
            record: the round, new or begun by a trainer that is gone.
            hold: whether this trainer may go on; asked about twice a second.
            number: of this trainer (`feedback.fence`).
            display: what people see.
        """
        self.settings, self.ledger, self.record = settings, ledger, record
        self.hold, self.number = hold, number
        self.display = display or Display()
        self.key = record.id.removeprefix("rnd_")
        """What the ids of everything that this round makes end with: made again, it is the same thing."""

    def made(self, name: str) -> Path:
        """Return where stage ``name`` leaves its output."""
        return self.settings.work_root / self.record.id / name

    def update(self, **changes: object) -> None:
        """Change fields of the round's record.

        Raises:
            LeaseLost: another trainer took over.
        """
        self.record = rounds.update(self.ledger, self.record, self.number, **changes)

    def check(self) -> None:
        """Go on, or not.

        Raises:
            Stopped: this trainer may not.
            Cancelled: nobody should.
        """
        if not self.hold():
            raise Stopped
        if rounds.is_cancelled(self.ledger, self.record.id):
            raise Cancelled

    def begin(self, stage: str) -> None:
        """Note that a stage begins.

        Raises:
            Stopped, Cancelled, LeaseLost: see `check` and `update`.
        """
        self.check()
        self.update(stage=stage, progress={})
        metrics.round_running.clear()
        metrics.round_running.labels(self.record.kind, stage).set(1)
        metrics.round_moved_timestamp_seconds.set_to_current_time()
        self.display.begin(stage)

    def end(self, stage: str, began_s: float) -> None:
        """Note that a stage, begun at ``began_s`` on the monotonic clock, is done."""
        seconds = round(time.monotonic() - began_s, 3)
        metrics.stage_seconds.labels(stage).set(seconds)
        self.update(seconds={**self.record.seconds, stage: seconds})
        logger.info("stage done", stage=stage, seconds=seconds)

    def run(self, stage: str, *options: str) -> dict[str, Any]:
        """Run a stage in this round's directory and return its metrics.

        Raises:
            StageFailed: it ended with an error.
            Stopped, Cancelled: it was ended from outside and leaves a checkpoint.
            LeaseLost: another trainer took over.
        """
        began_s = time.monotonic()
        self.begin(stage)
        ending: list[Exception] = []

        def may_go_on() -> bool:
            try:
                self.check()
            except LedgerUnavailable as error:  # training needs no ledger; the fence guards what is written later
                logger.warning("ledger unavailable", stage=stage, error=str(error))
            except (Stopped, Cancelled) as error:
                ending.append(error)
            return not ending

        try:
            found = run_stage(
                stage,
                [*options, *self._options(stage)],
                self.made(stage),
                preset=self.settings.preset,
                processes=self.settings.trainer_processes if stage in _TRAINING else 1,
                nice=self.settings.trainer_nice,
                on_progress=self._show,
                may_go_on=may_go_on,
            )
        except StageFailed:
            if ending:
                raise ending[0] from None
            raise
        finally:
            self.display.end()
        self.end(stage, began_s)
        return found

    def _options(self, stage: str) -> list[str]:
        """Return the options that the service's settings give to a stage."""
        threads = ["--threads", str(self.settings.trainer_threads)] if self.settings.trainer_threads else []
        events = ["--tensorboard"] if self.settings.tensorboard and stage in _TRAINING else []
        own = self.settings.stage_options.get(stage, {}).items()
        return [*threads, *events, *(word for name, value in own for word in (_option(name), str(value)))]

    def _show(self, progress: dict[str, Any]) -> None:
        """Pass a stage's progress on to people, to Prometheus and to the ledger."""
        if not progress.get("steps"):
            return
        stage = str(progress["stage"])
        figures = {name: float(progress[name]) for name in ("step", "steps", "eta_s") if progress.get(name) is not None}
        if figures["step"] != self.record.progress.get("step"):
            metrics.round_moved_timestamp_seconds.set_to_current_time()
        metrics.stage_progress.labels(stage).set(figures["step"] / figures["steps"])
        if "eta_s" in figures:
            metrics.stage_left_seconds.labels(stage).set(figures["eta_s"])
        for name, value in progress.get("metrics", {}).items():
            if value is not None:
                metrics.training_metric.labels(stage, name).set(value)
        self.display.show(progress)
        try:
            self.update(progress=figures)
        except LedgerUnavailable as error:
            logger.warning("progress not recorded", stage=stage, error=str(error))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
