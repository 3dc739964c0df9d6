"""The tie parameter of a reward model: learned beside its weights, kept beside them in ``ties.json``.

Knows one number, its update and its file; the formulas are in `trainer.maths.ties`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from feedback.errors import ArtifactCorrupt
from trainer.maths.ties import TieModel, parameter_for, tie_share

TIES_FILE = "ties.json"
_BOUND = 10.0


@dataclass
class TieParameter:
    """One number that says how wide labelers' indifference is.

    It is no weight for Adam: at a reward model's learning rate of 1e-5 it would never arrive. Each batch moves it by a
    share of one step of Fisher scoring, which needs no learning rate of its own scale (Fisher 1925).

    Attributes:
        model: whose likelihood it is of.
        value: any real number; see `trainer.maths.ties.outcomes`.
        rate: share of a scoring step that a batch moves it by: an average over about 1 / rate batches.
    """

    model: TieModel
    value: float
    rate: float = 0.1

    @classmethod
    def start(cls, model: TieModel, ties: int, judgements: int, rate: float) -> TieParameter:
        """Return the parameter at which equal completions tie as often as judgements do on the whole."""
        return cls(model, parameter_for(ties / max(judgements, 1), model), rate)

    @classmethod
    def load(cls, directory: Path) -> TieParameter | None:
        """Return what ``save`` wrote beside a reward model; None where ties were dropped.

        Raises:
            ArtifactCorrupt: the file is unreadable.
        """
        file = directory / TIES_FILE
        if not file.is_file():
            return None
        try:
            found = json.loads(file.read_text())
            return cls(found["model"], float(found["parameter"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactCorrupt(f"{file}: unreadable: {error}") from error

    def save(self, directory: Path) -> None:
        """Write ``ties.json``."""
        (directory / TIES_FILE).write_text(json.dumps({"model": self.model, "parameter": self.value}) + "\n")

    def learn(self, slope: float, information: float) -> None:
        """Move by a share of one scoring step; both figures of one batch, from ``score_and_information``."""
        step = slope / max(information, 1e-9)
        self.value += self.rate * min(max(step, -1.0), 1.0)
        self.value = min(max(self.value, -_BOUND), _BOUND)

    def share(self, gap: float) -> float:
        """Return how likely a tie is between two completions whose rewards differ by ``gap`` logits."""
        return tie_share(gap, self.value, self.model)
