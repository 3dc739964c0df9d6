"""The work on a round: options of stages, what is shown and recorded, and how it is ended from outside."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feedback import keys, metrics, rounds
from feedback.client import Ledger
from feedback.errors import LeaseLost, LedgerUnavailable
from tests.builders import make_round
from trainer.rounds import work as module
from trainer.rounds.work import Cancelled, Stopped, Work
from trainer.running.checkpoint import latest_checkpoint
from trainer.running.layout import CHECKPOINTS, working_directory
from trainer.settings.service import TrainerSettings

SPEC: dict[str, Any] = {"steps": 4, "stage": "ppo", "step": 2, "eta_s": 3.0, "metrics": {"objective/kl": 1.5}}


@pytest.fixture
def work(ledger: Ledger, tmp_path: Path) -> Work:
    settings = TrainerSettings.load(
        ledger_url=ledger.url, work_root=tmp_path, stage_options={"ppo": {"kl_coef": 0.5}}, trainer_threads=1
    )
    record = make_round(kind="ppo")
    rounds.begin(ledger, record)
    return Work(settings, ledger, record)


def gauge(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(name, labels)


def launched(monkeypatch: pytest.MonkeyPatch, act: Callable[..., Any]) -> list[dict[str, Any]]:
    """Let ``act`` stand in for the child; return what it was started with."""
    seen: list[dict[str, Any]] = []

    def run_stage(stage: str, options: list[str], output: Path, **rest: Any) -> dict[str, Any]:
        seen.append({"stage": stage, "options": options, "output": output, **rest})
        act(**rest)
        return {"done": True}

    monkeypatch.setattr(module, "run_stage", run_stage)
    return seen


def test_a_stage_gets_the_services_options_and_leaves_its_time(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = launched(monkeypatch, lambda **rest: rest["on_progress"](SPEC))
    assert work.run("ppo", "--policy", "P") == {"done": True}
    assert seen[0]["options"] == ["--policy", "P", "--threads", "1", "--tensorboard", "--kl-coef", "0.5"]
    assert seen[0]["output"] == work.made("ppo")
    work.run("evaluate")
    assert seen[1]["options"] == ["--threads", "1"], "it takes no steps"
    record = rounds.get(work.ledger, work.record.id)
    assert set(record.seconds) == {"ppo", "evaluate"}
    assert record.stage == "evaluate"
    assert gauge("whetstone_stage_progress", stage="ppo") == 0.5
    assert gauge("whetstone_stage_left_seconds", stage="ppo") == 3
    assert gauge("whetstone_training", stage="ppo", metric="objective/kl") == 1.5
    assert gauge("whetstone_round_running", kind="ppo", stage="evaluate") == 1
    assert gauge("whetstone_round_running", kind="ppo", stage="ppo") is None
    assert abs((gauge("whetstone_round_moved_timestamp_seconds") or 0) - time.time()) < 60


def test_progress_is_in_the_ledger_while_the_stage_runs(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, float]] = []

    def act(**rest: Any) -> None:
        rest["on_progress"](SPEC)
        seen.append(rounds.get(work.ledger, work.record.id).progress)

    launched(monkeypatch, act)
    work.run("ppo")
    assert seen == [{"step": 2, "steps": 4, "eta_s": 3}]


def test_a_ledger_that_is_away_for_a_while_does_not_end_a_stage(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bool] = []

    def act(**rest: Any) -> None:
        with monkeypatch.context() as away:

            def none(*_: Any, **__: Any) -> None:
                raise LedgerUnavailable("no Redis answers")

            away.setattr(rounds, "is_cancelled", none)
            away.setattr(rounds, "update", none)
            rest["on_progress"](SPEC)
            answers.append(rest["may_go_on"]())

    launched(monkeypatch, act)
    assert work.run("ppo") == {"done": True}
    assert answers == [True]


def test_a_superseded_trainer_begins_no_stage(work: Work) -> None:
    work.number = 1
    work.ledger.redis.set(keys.ROUND_FENCE, 2)
    with pytest.raises(LeaseLost):
        work.run("ppo")
    assert rounds.get(work.ledger, work.record.id).stage == ""


def test_a_trainer_that_may_not_go_on_begins_no_stage(work: Work) -> None:
    work.hold = lambda: False
    with pytest.raises(Stopped):
        work.run("ppo")


def test_a_cancelled_round_ends_within_ten_seconds_and_leaves_a_checkpoint(
    work: Work, tiny_policy_dir: Path, text_file: Path
) -> None:
    """A real stage, in the middle of its training."""
    output = work.made("pretrain")
    ended: list[BaseException] = []

    def walk() -> None:
        try:
            work.run(
                "pretrain",
                *("--text", str(text_file), "--init", str(tiny_policy_dir)),
                *("--epochs", "500", "--checkpoint-every", "2", "--block-tokens", "16", "--batch-size", "2"),
            )
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=walk)
    thread.start()
    deadline_s = time.monotonic() + 120
    while not (work.record.progress.get("step", 0) > 2 and latest_checkpoint(working_directory(output) / CHECKPOINTS)):
        assert thread.is_alive(), ended
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    told_s = time.monotonic()
    assert rounds.cancel(work.ledger) == work.record.id
    thread.join(60)
    assert time.monotonic() - told_s < 10
    assert [type(error) for error in ended] == [Cancelled]
    assert latest_checkpoint(working_directory(output) / CHECKPOINTS) is not None
    assert not output.exists()
