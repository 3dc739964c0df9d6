"""One stage as a child process: its metrics, its failures, its end on demand."""

import fcntl
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from feedback.errors import StageFailed
from trainer.rounds.launch import run_stage
from trainer.running.layout import LOCK_FILE, working_directory


def options(policy: Path, prompts: Path) -> list[str]:
    return ["--policy", str(policy), "--prompts", str(prompts), "--threads", "1", "--max-completion-tokens", "8"]


def test_a_stage_leaves_its_file_and_is_not_run_again(tiny_policy_dir: Path, prompt_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "made.jsonl"
    run_stage("generate", options(tiny_policy_dir, prompt_file), output, preset="paper")
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(rows) == 40
    written = output.stat().st_mtime_ns
    run_stage("generate", options(tiny_policy_dir, prompt_file), output, preset="paper")
    assert output.stat().st_mtime_ns == written


def test_a_failed_stage_is_reported_with_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"exit code 1: .*nowhere"):
        run_stage("generate", options(tmp_path / "nowhere", tmp_path / "none"), tmp_path / "x.jsonl", preset="paper")


def test_a_stage_that_may_not_go_on_is_ended_and_leaves_no_process(
    tiny_policy_dir: Path, prompt_file: Path, tmp_path: Path
) -> None:
    asked: list[int] = []

    def may_go_on() -> bool:
        asked.append(1)
        return False

    slow = [*options(tiny_policy_dir, prompt_file), "--n", "400", "--batch-size", "1"]
    with pytest.raises(StageFailed, match="exit code"):
        run_stage("generate", slow, tmp_path / "slow.jsonl", preset="paper", may_go_on=may_go_on)
    assert len(asked) == 1
    commands = [each / "cmdline" for each in Path("/proc").iterdir() if each.name.isdigit()]
    assert not any(str(tmp_path).encode() in _read(command) for command in commands)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def demonstrations(directory: Path) -> Path:
    path = directory / "demonstrations.jsonl"
    rows = [{"id": f"d{n}", "prompt": f"Count to {n}.", "response": "one two" + " three" * (n % 3)} for n in range(9)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_several_processes_make_one_output_and_name_the_cause_of_a_failure(
    tiny_policy_dir: Path, tmp_path: Path
) -> None:
    given = ["--demonstrations", str(demonstrations(tmp_path)), "--threads", "1", "--valid-fraction", "0"]
    short = [*given, "--max-steps", "2", "--batch-size", "4"]
    with pytest.raises(StageFailed, match=r"exit code 1: error: ArtifactMissing: .*nowhere"):
        run_stage(
            "sft", ["--policy", str(tmp_path / "nowhere"), *short], tmp_path / "lost", preset="paper", processes=2
        )
    metrics = run_stage(
        "sft", ["--policy", str(tiny_policy_dir), *short], tmp_path / "sft", preset="paper", processes=2
    )
    assert metrics["steps"] == 2
    printed = [line for line in (tmp_path / "sft.log").read_text().splitlines() if line.startswith("{")]
    assert [json.loads(line)["stage"] for line in printed] == ["sft"], "one process speaks for all"


def test_progress_reaches_the_caller(
    tiny_policy_dir: Path, prompt_file: Path, tiny_reward_dir: Path, tmp_path: Path
) -> None:
    seen: list[dict[str, Any]] = []
    run_stage(
        "ppo",
        [
            "--policy", str(tiny_policy_dir), "--reward", str(tiny_reward_dir), "--prompts", str(prompt_file),
            "--episodes", "480", "--batch-size", "16", "--minibatches", "2", "--max-completion-tokens", "8",
            "--threads", "1",
        ],
        tmp_path / "ppo",
        preset="paper",
        on_progress=seen.append,
    )  # fmt: skip
    assert seen
    assert {each["stage"] for each in seen} == {"ppo"}
    assert seen[-1]["steps"] == 30


def test_a_former_trainers_child_is_waited_for_and_what_it_made_is_used(tmp_path: Path) -> None:
    """It goes on although its trainer stands still; another child would only be refused."""
    output = tmp_path / "sft"
    lock = working_directory(output) / LOCK_FILE
    lock.parent.mkdir()
    former = lock.open("w")
    fcntl.flock(former, fcntl.LOCK_EX)
    asked: list[int] = []

    def may_go_on() -> bool:
        asked.append(1)
        if len(asked) == 2:
            output.mkdir()
            (output / "metrics.json").write_text('{"steps": 7}')
            shutil.rmtree(lock.parent)
            former.close()
        return True

    assert run_stage("sft", ["--no-such-option"], output, preset="paper", may_go_on=may_go_on) == {"steps": 7}
    assert len(asked) == 2


def test_who_waits_for_a_former_child_may_be_told_to_stop(tmp_path: Path) -> None:
    lock = working_directory(tmp_path / "sft") / LOCK_FILE
    lock.parent.mkdir()
    with lock.open("w") as former:
        fcntl.flock(former, fcntl.LOCK_EX)
        with pytest.raises(StageFailed, match="former trainer's child"):
            run_stage("sft", [], tmp_path / "sft", preset="paper", may_go_on=lambda: False)
    assert not (tmp_path / "sft.log").exists(), "nothing was started"
