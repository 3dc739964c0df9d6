"""A run's directory appears whole, resumes only itself, and is never shared or overwritten."""

import json
from pathlib import Path

import pytest
import torch

from feedback import artifacts
from feedback.errors import ArtifactError, ConfigError
from trainer.running.run import open_run, partial_directory
from trainer.settings.stages import ScoreSettings


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
    assert not partial_directory(tmp_path / "out").exists()


def test_interrupted_run_is_taken_up_again(tmp_path: Path) -> None:
    interrupt(tmp_path)
    (partial_directory(tmp_path / "out") / "half.txt").write_text("x")
    with open_run("score", settings(tmp_path)) as run:
        assert (run.directory / "half.txt").exists()
        run.finish({})


def test_finished_output_is_never_written_again(tmp_path: Path) -> None:
    with open_run("score", settings(tmp_path)) as run:
        run.finish({})
    with pytest.raises(ArtifactError, match="exists and is not empty"):
        interrupt(tmp_path)


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
    partial_directory(tmp_path / "out").mkdir()
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
