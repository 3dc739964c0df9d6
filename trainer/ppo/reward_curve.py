"""The scores of a run against the KL it has spent, by the reward model that it learns from and by one held out.

Knows who judges and what is kept of each iteration; the curve's form and its turn are in
`trainer.maths.overoptimisation`, what is done about a turn in `trainer.ppo.guards`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from trainer.data.reading import Message
from trainer.maths.overoptimisation import fit, turnover
from trainer.models.normalisation import score_sequences
from trainer.models.scalar import ScalarModel
from trainer.rollouts.rollout import Rollout
from trainer.settings.ppo import PpoSettings

RewardFunction = Callable[[Sequence[list[Message]], Sequence[str], Sequence[bool]], Sequence[float]]
"""Scores of completions from prompts' messages, completions' texts and whether each ended with EOS."""

CURVE_FILE = "reward-curve.jsonl"
"""A line for each iteration that was judged by a held-out model: iteration, KL in nats, both mean scores."""
_COLUMNS = ("iteration", "kl_nats", "scores", "held_out_scores")


class RewardCurve:
    """Collects a run's points; without a held-out judge there are none.

    Attributes:
        judge: a second reward model that nothing is trained on, or None.
    """

    def __init__(self, judge: ScalarModel | None = None) -> None:
        """Begin without points."""
        self.judge = judge
        self._points: list[tuple[float, ...]] = []

    @classmethod
    def of(cls, settings: PpoSettings, device: torch.device) -> RewardCurve:
        """Return the curve of a run, with the held-out reward model that the settings name."""
        path = settings.held_out_reward
        return cls(ScalarModel.load(path, device=device).requires_grad_(False) if path else None)

    def scores(self, rollout: Rollout, pad_id: int, micro_batch_tokens: int) -> list[float]:
        """Return the held-out model's score of every episode, in its own reward units."""
        assert self.judge is not None
        ids, lengths = rollout.input_ids_BT.tolist(), rollout.lengths_B.tolist()
        sequences = [row[:length] for row, length in zip(ids, lengths, strict=True)]
        return score_sequences(self.judge, sequences, pad_id, micro_batch_tokens)

    def add(self, iteration: int, metrics: Mapping[str, float], held_out: Sequence[float]) -> dict[str, float]:
        """Keep an iteration's point.

        Args:
            iteration: iterations done before it.
            metrics: ``objective/kl`` and ``objective/scores`` of the iteration.
            held_out: one score an episode by the held-out judge.

        Returns:
            ``objective/held_out_scores``, their mean, and ``objective/held_out_fall``, what of the gain was lost since
            the best iterations, as a share; 0 while it may be noise.
        """
        score = sum(held_out) / len(held_out)
        self._points.append((float(iteration), metrics["objective/kl"], metrics["objective/scores"], score))
        found = turnover([point[3] for point in self._points])
        return {"objective/held_out_scores": score, "objective/held_out_fall": found.fall if found else 0.0}

    def report(self) -> dict[str, Any] | None:
        """Return both fitted curves and the turn of the held-out one, for people; None without points."""
        if not self._points:
            return None
        iterations, kl_nats, scores, held_out = (list(column) for column in zip(*self._points, strict=True))
        curves = {name: fit(kl_nats, points) for name, points in (("proxy", scores), ("held_out", held_out))}
        found = turnover(held_out)
        turned = {"iteration": int(iterations[found.peak_at]), "fall": found.fall} if found else None
        return {name: asdict(curve) if curve else None for name, curve in curves.items()} | {"turnover": turned}

    def write(self, directory: Path) -> None:
        """Write the points, a JSON line each; nothing without points."""
        if self._points:
            rows = (dict(zip(_COLUMNS, point, strict=True)) for point in self._points)
            (directory / CURVE_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def state_dict(self) -> list[list[float]]:
        """What a resumed run needs to go on."""
        return [list(point) for point in self._points]

    def load_state_dict(self, state: Sequence[Sequence[float]]) -> None:
        """Go on from a saved state."""
        self._points = [tuple(point) for point in state]
