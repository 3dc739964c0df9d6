"""Steps that were not taken because a number was none: how many, on which rows, and when they are too many.

Knows counts, a file and the rule; does not know models, checkpoints or what is done about too many.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from feedback.errors import Diverged
from trainer.running.layout import BAD_BATCHES_FILE

MOST_IN_A_ROW = 3
"""Skipped steps in a row that end an attempt."""
MOST_SHARE = 0.01
"""Share of skipped steps above which an attempt ends, once it has seen `FEWEST_STEPS`."""
FEWEST_STEPS = 100
"""Steps before the share is looked at: before that a single bad batch would be more than 1 %."""


class BadSteps:
    """Counts the steps of one run and writes ``bad-batches.jsonl``, a line for each step that was skipped.

    Attributes:
        attempt: 0, or 1 once the run went back to a checkpoint with half the learning rate; there is no third.
        skipped: steps skipped so far.
        since: steps (or iterations) done when the latest row of skipped steps began.
    """

    def __init__(self, directory: Path | None) -> None:
        """Count from nothing.

        Args:
            directory: the run's; None writes no file (processes other than the first).
        """
        self._file = directory / BAD_BATCHES_FILE if directory else None
        self.attempt = 0
        self.skipped = 0
        self.since = 0
        self._steps = 0
        self._in_a_row = 0
        self._reason = ""

    @property
    def lr_scale(self) -> float:
        """What the learning rate is multiplied by: halved after the run went back."""
        return 0.5**self.attempt

    @property
    def last_was_good(self) -> bool:
        """Whether the latest step was taken; only then is a checkpoint written."""
        return self._in_a_row == 0

    @property
    def verdict(self) -> str:
        """Why the run cannot go on like this; empty while it can."""
        if self._in_a_row >= MOST_IN_A_ROW:
            return f"{self._in_a_row} steps in a row could not be taken (the last: {self._reason})"
        if self._steps >= FEWEST_STEPS and self.skipped > MOST_SHARE * self._steps:
            share = f"{self.skipped} of {self._steps} steps, more than {MOST_SHARE:.0%},"
            return f"{share} could not be taken (the last: {self._reason})"
        return ""

    def require_one_good(self) -> None:
        """Refuse to call a run done in which not one step was taken.

        Raises:
            Diverged: every step was skipped.
        """
        if 0 < self._steps == self.skipped:
            raise Diverged(f"not one of {self._steps} steps could be taken (the last: {self._reason})")

    def good(self) -> None:
        """Count a step that was taken."""
        self._steps += 1
        self._in_a_row = 0

    def bad(self, step: int, reason: str, rows: Sequence[str]) -> None:
        """Count a step that was skipped, and write its rows down.

        Args:
            step: steps (or iterations) done before it.
            reason: which number was none.
            rows: ids of the rows of its batch.
        """
        self.since = self.since if self._in_a_row else step
        self._reason = reason
        self._steps += 1
        self.skipped += 1
        self._in_a_row += 1
        if self._file is not None:
            line = {"attempt": self.attempt, "step": step, "reason": reason, "rows": list(rows)}
            with self._file.open("a") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the lines of steps that this process will do again; call once, after the checkpoint was loaded."""
        if self._file is None or not self._file.exists():
            return
        lines = [line for line in self._file.read_text().splitlines() if line.endswith("}")]
        kept = [line for line in lines if _is_before(json.loads(line), self.attempt, step)]
        draft = self._file.with_name(f".{self._file.name}")  # a kill in the middle must not cost the other lines
        draft.write_text("".join(line + "\n" for line in kept))
        draft.replace(self._file)

    def go_back(self, state: Mapping[str, Any]) -> None:
        """Begin the second attempt with the counts that the checkpoint holds."""
        self.load_state_dict(state)
        self.attempt = 1
        self._in_a_row = 0

    def state_dict(self) -> dict[str, int | str]:
        """What a resumed run needs to go on counting."""
        return {
            "attempt": self.attempt,
            "skipped": self.skipped,
            "steps": self._steps,
            "in_a_row": self._in_a_row,
            "since": self.since,
            "reason": self._reason,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.attempt, self.skipped = int(state["attempt"]), int(state["skipped"])
        self._steps, self._in_a_row = int(state["steps"]), int(state["in_a_row"])
        self.since, self._reason = int(state["since"]), str(state["reason"])


def _is_before(line: Mapping[str, Any], attempt: int, step: int) -> bool:
    return int(line["attempt"]) < attempt or (int(line["attempt"]) == attempt and int(line["step"]) < step)
