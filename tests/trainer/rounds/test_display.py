"""What people see of a round: a bar a stage in a terminal, log lines elsewhere."""

import io
import re
from typing import Any

import pytest
from structlog.testing import capture_logs

from trainer.rounds import display
from trainer.rounds.display import Display

PPO = {"objective/scores": 0.5, "objective/kl": 3.25, "episode/eos_rate": 0.96875, "episodes": 128.0}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(stage: str, step: int, **figures: float) -> dict[str, Any]:
    return {"stage": stage, "step": step, "steps": 4, "eta_s": 7.0, "metrics": figures}


def test_each_stage_has_its_bar_in_a_terminal() -> None:
    stream = Terminal()
    shown = Display(stream)
    for stage, figures in (("reward", {"loss": 0.25}), ("ppo", PPO)):
        shown.begin(stage)
        shown.show(progress(stage, 2))
        shown.show(progress(stage, 4, **figures))
        shown.end()
    bars = [line.split("\r")[-1] for line in stream.getvalue().split("\n") if line.strip()]
    assert len(bars) == 2
    assert re.search(r"reward: 100%.* 4/4 \[.*, loss 0.25\]", bars[0])
    assert re.search(r"ppo: 100%.* 4/4 \[.*, episodes 128  reward 0.5  KL 3.25  EOS 0.9688\]", bars[1])


def test_elsewhere_there_is_a_log_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    shown = Display(stream)
    with capture_logs() as lines:
        shown.begin("ppo")
        for second in range(0, 65, 5):
            clock[0] = float(second)
            shown.show(progress("ppo", second // 20, loss=0.5))
        shown.end()
    assert stream.getvalue() == ""
    assert [line["event"] for line in lines] == ["stage began", "stage goes on", "stage goes on"]
    assert lines[1] == {
        "event": "stage goes on",
        "log_level": "info",
        "module": "trainer.rounds.display",
        "stage": "ppo",
        "step": 1,
        "steps": 4,
        "eta_s": 7.0,
        "loss": 0.5,
    }
