"""The shared loop: as many steps as asked for, each with the schedule's rate, stopped by what is no number."""

import json
import math
import signal
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from feedback.errors import Diverged
from trainer.running.bad_steps import BadSteps
from trainer.running.distributed import World
from trainer.running.layout import partial_directory
from trainer.running.loop import _Loop, optimize
from trainer.running.optimization import Schedule, adamw
from trainer.running.run import Run, open_run
from trainer.settings.stages import RewardSettings


class Line:
    """Fits a line to numbered points; its cursor is the number of points seen, points of ``poison`` have no loss."""

    def __init__(self, model: nn.Module, poison: Container[int] = ()) -> None:
        self.model, self.seen, self.poison = model, 0, poison

    def __call__(self) -> dict[str, float]:
        loss = (self.model(torch.tensor([[float(self.seen)]])) - 2.0).square().sum()
        loss = loss * math.nan if self.seen in self.poison else loss
        loss.backward()
        self.seen += 1
        return {"loss": float(loss.detach())}

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def restore(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]

    def rows(self) -> list[str]:
        return [f"point {self.seen - 1}"]


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
    given, model = settings(tmp_path, checkpoint_every=2), nn.Linear(1, 1)

    def interrupt(step: int) -> None:
        if step == 5:
            raise KeyboardInterrupt

    def train(after_step: Callable[[int], None] | None = None) -> tuple[int, int]:
        with open_run("reward", given) as run:
            line = Line(model)
            began = optimize(run, given, model, line, line, schedule=Schedule(steps=6), lr=0.1, after_step=after_step)
            return began, line.seen

    with pytest.raises(KeyboardInterrupt):
        train(interrupt)
    assert train() == (4, 6)
    assert train() == (6, 6), "the last step has a checkpoint, too: what follows it may take long"


def test_sigterm_leaves_a_checkpoint_of_the_step_under_way(tmp_path: Path) -> None:
    given, model = settings(tmp_path), nn.Linear(1, 1)

    def told_to_stop(step: int) -> None:
        if step == 3:
            signal.raise_signal(signal.SIGTERM)

    def train() -> None:
        with open_run("reward", given) as run:
            line = Line(model)
            optimize(run, given, model, line, line, schedule=Schedule(steps=6), lr=0.1, after_step=told_to_stop)

    with pytest.raises(SystemExit) as ended:
        train()
    assert ended.value.code == 143
    with open_run("reward", given) as run:
        line = Line(nn.Linear(1, 1))
        assert optimize(run, given, line.model, line, line, schedule=Schedule(steps=6), lr=0.1) == 3
        assert len((run.directory / "metrics.jsonl").read_text().splitlines()) == 6


def walk(tmp_path: Path, line: Line, steps: int = 8, **changes: Any) -> list[dict[str, Any]]:
    """Run the loop; return the lines of metrics.jsonl."""
    with open_run("reward", settings(tmp_path, **changes)) as run:
        optimize(run, settings(tmp_path, **changes), line.model, line, line, schedule=Schedule(steps=steps), lr=0.1)
        return [json.loads(row) for row in (run.directory / "metrics.jsonl").read_text().splitlines()]


def bad_batches(tmp_path: Path) -> list[dict[str, Any]]:
    path = partial_directory(tmp_path / "out") / "bad-batches.jsonl"
    return [json.loads(row) for row in path.read_text().splitlines()]


def test_a_step_whose_loss_is_no_number_is_skipped_counted_and_its_rows_written_down(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, clean = nn.Linear(1, 1), nn.Linear(1, 1)
    clean.load_state_dict(model.state_dict())
    rows = walk(tmp_path / "poisoned", Line(model, poison={3}))
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert "loss" not in rows[3]
    assert [row.get("skipped_steps") for row in rows] == [None] * 3 + [1.0] * 5
    [line] = bad_batches(tmp_path / "poisoned")
    assert (line["step"], line["rows"]) == (3, ["point 3"])
    assert "loss is nan" in line["reason"]
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    walk(tmp_path / "clean", Line(clean))
    assert not torch.equal(model.weight, clean.weight)


def test_a_bad_step_moves_no_weight(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    before = model.weight.detach().clone()
    with pytest.raises(Diverged, match=r"not one of 2 steps could be taken .*reward step 1: loss is nan"):
        walk(tmp_path, Line(model, poison={0, 1}), steps=2)
    assert torch.equal(model.weight, before)


def test_three_bad_steps_in_a_row_without_a_checkpoint_end_the_run_with_the_reason(tmp_path: Path) -> None:
    reason = r"reward stopped at step 6: 3 steps in a row .* reward step 5: loss is nan.* there is no checkpoint"
    with pytest.raises(Diverged, match=reason):
        walk(tmp_path, Line(nn.Linear(1, 1), poison={3, 4, 5}))
    assert not (tmp_path / "out").exists()
    assert len(bad_batches(tmp_path)) == 3


class Shy(Line):
    """Has no finite loss from point 3 on, three times; then it has."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.tripped = 0

    def __call__(self) -> dict[str, float]:
        self.poison = range(3, 99) if self.tripped < 3 else ()
        self.tripped += self.seen in self.poison
        return super().__call__()


def test_the_run_goes_back_to_its_checkpoint_with_half_the_learning_rate(tmp_path: Path) -> None:
    rows = walk(tmp_path, Shy(nn.Linear(1, 1)), checkpoint_every=2)
    full = [Schedule(steps=8).share(step) * 0.1 for step in range(8)]
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert [row["lr"] for row in rows] == pytest.approx(full[:2] + [rate / 2 for rate in full[2:]])
    assert [(line["attempt"], line["step"]) for line in bad_batches(tmp_path)] == [(0, 3), (0, 4), (0, 5)]


def test_it_goes_back_once_only(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="it had gone back once, to half the learning rate"):
        walk(tmp_path, Line(nn.Linear(1, 1), poison={3, 4, 5}), checkpoint_every=2)
    assert [(line["attempt"], line["step"]) for line in bad_batches(tmp_path)] == [
        (0, 3), (0, 4), (0, 5), (1, 3), (1, 4), (1, 5),
    ]  # fmt: skip


def test_skipped_steps_are_counted_across_a_restart_as_without_one(tmp_path: Path) -> None:
    """Killed between checkpoint 4 and the end, the second process counts and writes what one process would have."""
    torch.manual_seed(0)
    first = nn.Linear(1, 1)
    second, whole = (nn.Linear(1, 1) for _ in range(2))
    whole.load_state_dict(first.state_dict())
    poison = {1, 5}
    expected = walk(tmp_path / "whole", Line(whole, poison), checkpoint_every=2)

    class Killed(Line):
        def __call__(self) -> dict[str, float]:
            if self.seen == 7:
                raise KeyboardInterrupt
            return super().__call__()

    with pytest.raises(KeyboardInterrupt):
        walk(tmp_path / "killed", Killed(first, poison), checkpoint_every=2)
    found = walk(tmp_path / "killed", Line(second, poison), checkpoint_every=2)
    timeless = [[{k: v for k, v in row.items() if k != "s"} for row in rows] for rows in (expected, found)]
    assert timeless[0] == timeless[1]
    assert bad_batches(tmp_path / "whole") == bad_batches(tmp_path / "killed")
    assert torch.equal(whole.weight, second.weight)


def test_several_processes_draw_dropout_of_their_own_anew_at_every_step(tmp_path: Path) -> None:
    drawn: dict[tuple[int, int], float] = {}
    for rank, begin in ((0, 0), (1, 0), (1, 3)):  # the last is a resumed one
        model = nn.Linear(1, 1)
        line = Line(model)
        run = Run("reward", settings(tmp_path), tmp_path, torch.device("cpu"), World(rank=rank, size=2))
        loop = _Loop(run, settings(tmp_path), model, adamw(model, settings(tmp_path), 0.1), line, line,
                     Schedule(steps=5), 0.1, None, BadSteps(None))  # fmt: skip
        for step in range(begin, 5):
            loop._seed(step)
            value = float(torch.rand(()))
            assert drawn.setdefault((rank, step), value) == value
    assert len(set(drawn.values())) == 10
