"""Progress for people, for the log and for the service; and the guard against numbers that are none."""

import io
import json
import math
import re
from pathlib import Path

import pytest

from feedback.errors import Diverged
from trainer.running import progress
from trainer.running.progress import Progress, require_finite


def test_log_has_a_line_a_step_and_the_file_the_last_state(tmp_path: Path) -> None:
    with Progress("sft", 3, tmp_path, stream=io.StringIO()) as shown:
        for step in (1, 2, 3):
            shown.update(step, {"loss": 1 / step})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[1]["loss"] == 0.5
    state = json.loads((tmp_path / "progress.json").read_text())
    assert {key: state[key] for key in ("stage", "step", "steps")} == {"stage": "sft", "step": 3, "steps": 3}
    assert state["eta_s"] == 0
    assert state["metrics"] == {"loss": pytest.approx(1 / 3)}


def test_state_is_there_before_the_first_step(tmp_path: Path) -> None:
    with Progress("sft", 3, tmp_path, stream=io.StringIO()):
        assert json.loads((tmp_path / "progress.json").read_text())["eta_s"] is None


def test_resumed_log_loses_the_steps_that_come_again(tmp_path: Path) -> None:
    with Progress("sft", 4, tmp_path, stream=io.StringIO()) as shown:
        for step in (1, 2, 3):
            shown.update(step, {"loss": 0.0})
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write('{"step": 4, "lo')  # torn by a kill
    with Progress("sft", 4, tmp_path, start=2, stream=io.StringIO()) as shown:
        for step in (3, 4):
            shown.update(step, {"loss": 1.0})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 0), (2, 0), (3, 1), (4, 1)]


def test_plain_lines_come_every_few_seconds_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(float(second) for second in range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    with Progress("reward", 50, stream=stream) as shown:
        for step in range(1, 51):
            shown.update(step, {"loss": 0.25})
    lines = stream.getvalue().splitlines()
    assert 5 < len(lines) < 50
    assert all(re.fullmatch(r"reward \d+/50, \d+ s left  loss 0.25", line) for line in lines)
    assert lines[-1] == "reward 50/50, 0 s left  loss 0.25"


PPO = {
    "objective/kl": 3.25,
    "objective/scores": 0.5,
    "ppo/ptx/loss": 2.0,
    "episode/eos_rate": 0.96875,
    "episode/length_tokens": 20.5,
    "episodes": 128.0,
}
SHOWN = "episodes 128  reward 0.5  KL 3.25  EOS 0.9688  tokens 20.5"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bar_is_drawn_in_a_terminal_with_the_time_left_and_what_people_read_first() -> None:
    stream = Terminal()
    with Progress("ppo", 2, stream=stream) as shown:
        shown.update(1, {"objective/kl": 0.5})
        shown.update(2, PPO)
    last = stream.getvalue().split("\r")[-1]
    pattern = r"ppo: 100%\|[█#]*\| 2/2 \[00:0\d<00:00, .*(it/s|s/it), " + re.escape(SHOWN) + r"\]\s*"
    assert re.fullmatch(pattern, last)


def test_a_plain_line_shows_the_same_figures() -> None:
    stream = io.StringIO()
    with Progress("ppo", 2, stream=stream) as shown:
        shown.update(2, PPO)
    assert stream.getvalue() == f"ppo 2/2, 0 s left  {SHOWN}\n"


def test_a_lost_tracker_is_said_between_the_lines(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    stream = io.StringIO()
    with Progress("ppo", 1, tmp_path, stream=stream, tensorboard=True) as shown:
        shown.update(1, PPO)
    first, last = stream.getvalue().splitlines()
    assert first.startswith("ppo: no more metrics for TensorBoard: FileExistsError")
    assert last.startswith("ppo 1/1")
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_stops_the_run_naming_stage_step_and_quantity(value: float) -> None:
    with pytest.raises(Diverged, match=r"sft step 7: loss is (nan|-?inf)"):
        require_finite(value, "loss", "sft", 7)
    assert require_finite(0.5, "loss", "sft", 7) == 0.5
