"""The shared loop: as many steps as asked for, each with the schedule's rate, stopped by what is no number."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from feedback.errors import Diverged
from trainer.running.loop import optimize
from trainer.running.optimization import Schedule
from trainer.running.run import open_run
from trainer.settings.stages import RewardSettings


class Line:
    """Fits a line to numbered points; its cursor is the number of points seen."""

    def __init__(self, model: nn.Module, fail_at: int = -1) -> None:
        self.model, self.seen, self.fail_at = model, 0, fail_at

    def __call__(self) -> dict[str, float]:
        if self.seen == self.fail_at:
            return {"loss": math.nan}
        loss = (self.model(torch.tensor([[float(self.seen)]])) - 2.0).square().sum()
        loss.backward()
        self.seen += 1
        return {"loss": float(loss.detach())}

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def restore(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


def settings(tmp_path: Path, **changes: Any) -> RewardSettings:
    fields = {"output": tmp_path / "out", "preferences": [], "threads": 1}
    return RewardSettings.model_validate(fields | changes)


def test_steps_follow_the_schedule_and_callback_sees_each(tmp_path: Path) -> None:
    model, seen = nn.Linear(1, 1), []
    with open_run("reward", settings(tmp_path)) as run:
        line = Line(model)
        start = optimize(
            run, settings(tmp_path), model, line, line, schedule=Schedule(steps=5), lr=0.1, after_step=seen.append
        )
        lines = [json.loads(row) for row in (run.directory / "metrics.jsonl").read_text().splitlines()]
    assert start == 0
    assert seen == [1, 2, 3, 4, 5]
    assert [row["lr"] for row in lines] == pytest.approx([0.1, 0.0868198, 0.055, 0.0231802, 0.01], rel=1e-5)
    assert not model.training


def test_checkpoint_is_taken_up_where_it_was_left(tmp_path: Path) -> None:
    for expected in (0, 4):
        model = nn.Linear(1, 1)
        with open_run("reward", settings(tmp_path, checkpoint_every=2)) as run:
            line = Line(model)
            began = optimize(
                run, settings(tmp_path, checkpoint_every=2), model, line, line, schedule=Schedule(steps=6), lr=0.1
            )
        assert (began, line.seen) == (expected, 6)


def test_loss_that_is_no_number_stops_the_run_and_names_the_step(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    with open_run("reward", settings(tmp_path)) as run:
        line = Line(model, fail_at=3)
        with pytest.raises(Diverged, match=r"reward step 3: loss is nan"):
            optimize(run, settings(tmp_path), model, line, line, schedule=Schedule(steps=6), lr=0.1)
    assert not (tmp_path / "out").exists()
