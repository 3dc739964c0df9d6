"""A run's directory appears whole, resumes only itself, and is never shared or overwritten."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from feedback import artifacts
from feedback.errors import ArtifactError, ConfigError, DiskFull, RunFinished
from trainer.running import space
from trainer.running.layout import partial_directory, working_directory
from trainer.running.run import open_run
from trainer.settings.stages import RewardSettings, ScoreSettings


def settings(tmp_path: Path, **changes: object) -> ScoreSettings:
    fields = {"output": tmp_path / "out", "reward_model": tmp_path / "rm", "preferences": [tmp_path / "p.jsonl"]}
    return ScoreSettings.model_validate(fields | {"threads": 1} | changes)


def interrupt(tmp_path: Path, **changes: object) -> None:
    with open_run("score", settings(tmp_path, **changes), [tmp_path / "p.jsonl"]):
        pass


def test_output_appears_only_when_the_run_has_finished(tmp_path: Path) -> None:
    with open_run("score", settings(tmp_path)) as run:
        (run.directory / "made.txt").write_text("x")
        (run.checkpoints / "step-1").mkdir(parents=True)
        assert not (tmp_path / "out").exists()
        metrics = run.finish({"accuracy": 0.5})
    assert metrics["stage"] == "score"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"made.txt", "metrics.json", "settings.json", "manifest.json"}
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["accuracy"] == 0.5
    artifacts.verify(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_interrupted_run_is_taken_up_again(tmp_path: Path) -> None:
    interrupt(tmp_path)
    (partial_directory(tmp_path / "out") / "half.txt").write_text("x")
    with open_run("score", settings(tmp_path)) as run:
        assert (run.directory / "half.txt").exists()
        run.finish({})


def test_finished_run_started_again_says_so_and_gives_its_metrics(tmp_path: Path) -> None:
    with open_run("score", settings(tmp_path)) as run:
        run.finish({"accuracy": 0.5})
    with pytest.raises(RunFinished, match="this run has finished; nothing was done") as found:
        interrupt(tmp_path)
    assert found.value.metrics["accuracy"] == 0.5
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_finished_output_is_never_written_by_another_run(tmp_path: Path) -> None:
    with open_run("score", settings(tmp_path)) as run:
        run.finish({})
    with pytest.raises(ArtifactError, match="exists and is not empty") as found:
        interrupt(tmp_path, seed=3)
    assert not isinstance(found.value, RunFinished)


def test_empty_output_directory_is_taken_and_a_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with open_run("score", settings(tmp_path)) as run:
        run.finish({})
    assert (tmp_path / "out" / "metrics.json").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match="exists"):
        interrupt(tmp_path, output=tmp_path / "file")


def test_unfinished_run_of_other_settings_data_or_stage_is_refused_by_its_difference(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("1")
    interrupt(tmp_path)
    with pytest.raises(ArtifactError, match=r"other settings \(--seed 0\)"):
        interrupt(tmp_path, seed=1)
    with (
        pytest.raises(ArtifactError, match=r"other stage \(score\)"),
        open_run("reward", settings(tmp_path), [tmp_path / "p.jsonl"]),
    ):
        pass
    (tmp_path / "p.jsonl").write_text("2")
    with pytest.raises(ArtifactError, match="other input data"):
        interrupt(tmp_path)


def test_strange_files_in_the_working_directory_are_refused(tmp_path: Path) -> None:
    partial_directory(tmp_path / "out").mkdir(parents=True)
    (partial_directory(tmp_path / "out") / "holiday.jpg").write_text("x")
    with pytest.raises(ArtifactError, match=r"holiday.jpg"):
        interrupt(tmp_path)


def test_two_processes_never_work_on_one_run(tmp_path: Path) -> None:
    with (
        open_run("score", settings(tmp_path)),
        pytest.raises(ArtifactError, match="another process"),
        open_run("score", settings(tmp_path)),
    ):
        pass


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="without torchrun"):
        interrupt(tmp_path)


def test_resuming_looks_for_room_and_drops_what_comes_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Linear(2, 2)
    given = RewardSettings.model_validate(
        {"output": tmp_path / "out", "preferences": [], "threads": 1, "checkpoint_every": 1}
    )
    with open_run("reward", given) as run:
        assert run.resume(modules={"m": model}, optimizers={}) is None
        for step, good in ((1, True), (2, False), (3, False)):
            run.save_checkpoint(step, modules={"m": model}, optimizers={}, good=good)
        found = run.resume(modules={"m": model}, optimizers={}, good_only=True)
        assert found is not None
        assert found.step == 1
        assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000001"]
        monkeypatch.setattr(space.shutil, "disk_usage", lambda path: NoRoom)
        with pytest.raises(DiskFull, match="0 MiB are free"):
            run.resume(modules={"m": torch.nn.Linear(1000, 1000)}, optimizers={})


class NoRoom:
    """What ``disk_usage`` says of a full disk."""

    free = 0


def test_a_full_disk_is_named_whatever_the_stage_was_doing(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match="make room"), open_run("score", settings(tmp_path)) as run:
        fill(run.directory)
    with open_run("score", settings(tmp_path)) as run:
        run.finish({})


def fill(directory: Path) -> None:
    """Fail as a library without Python's error numbers does."""
    raise RuntimeError(f"{directory}: No space left on device (os error 28)")


STAGE = """
import sys, threading
from pathlib import Path
import torch
from trainer.running.run import open_run
from trainer.settings.stages import ScoreSettings
torch.set_num_threads(1)
with open_run("score", ScoreSettings(output=Path(sys.argv[1]), reward_model="r", preferences=[], threads=1)) as run:
    print("ready", flush=True)
    threading.Event().wait(60)
"""


def test_sigterm_ends_a_stage_at_once_with_its_own_exit_code_and_frees_its_directory(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", STAGE, str(tmp_path / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    with pytest.raises(ArtifactError, match="another process"):
        interrupt(tmp_path)
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 143
    assert "the same command goes on" in said
    assert working_directory(tmp_path / "out").is_dir()


def test_seed_is_set(tmp_path: Path) -> None:
    drawn = []
    for number in range(2):
        with open_run("score", settings(tmp_path, output=tmp_path / str(number), seed=7)):
            drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no usable GPU"):
        interrupt(tmp_path, device="cuda")
