"""A run killed between any two calls of its end goes on, or has published a whole output."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from feedback import artifacts
from feedback.errors import ArtifactError, RunFinished
from trainer.running import workspace
from trainer.running.layout import partial_directory, working_directory
from trainer.running.workspace import conclude, owned, seal

THIS = {"stage": "s", "settings": {}, "inputs": {}, "environment": {}}


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def begin(output: Path) -> None:
    """Leave an unfinished run with one made file and one checkpoint."""
    with owned(output, THIS):
        (partial_directory(output) / "made.txt").write_text("x")
        (working_directory(output) / "checkpoints" / "step-1").mkdir(parents=True)


def end(output: Path) -> None:
    """Go on with the run and end it; nothing that was kept may be gone."""
    with owned(output, THIS):
        assert (working_directory(output) / "checkpoints" / "step-1").is_dir(), "work was lost"
        seal(output, {"loss": 1})
        conclude(output)


def die_in(patch: pytest.MonkeyPatch, owner: Any, name: str, at: int, *, after: bool) -> None:
    """Have the ``at``-th call of a function end the process, before or after its work."""
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def dies(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at and not after:
            raise Killed
        result = real(*arguments, **options)
        if calls == at:
            raise Killed
        return result

    patch.setattr(owner, name, dies)


CALLS = [(artifacts, "write_manifest", 1), (artifacts, "sync", 1), (artifacts, "sync", 3), (artifacts, "sync", 6)]
CALLS += [(Path, "rename", 1), (workspace.shutil, "rmtree", 1), (workspace, "write_json", 1)]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("owner", "name", "at"), CALLS)
def test_a_kill_at_any_call_of_the_end_is_made_good_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at: int, after: bool
) -> None:
    output = tmp_path / "out"
    begin(output)
    with monkeypatch.context() as patch:
        die_in(patch, owner, name, at, after=after)
        with pytest.raises(Killed):
            end(output)
    if output.exists():
        artifacts.verify(output)
    with suppress(RunFinished):
        end(output)
    assert json.loads((output / "metrics.json").read_text()) == {"loss": 1}
    artifacts.verify(output)
    assert {path.name for path in output.iterdir()} == {"made.txt", "metrics.json", "settings.json", "manifest.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_damaged_finished_output_is_not_called_finished(tmp_path: Path) -> None:
    begin(tmp_path / "out")
    with owned(tmp_path / "out", THIS):
        seal(tmp_path / "out", {})
        conclude(tmp_path / "out")
    (tmp_path / "out" / "made.txt").write_text("y")
    with pytest.raises(ArtifactError, match="does not match its manifest") as found, owned(tmp_path / "out", THIS):
        pass
    assert not isinstance(found.value, RunFinished)


def test_drafts_and_metrics_without_a_manifest_are_swept(tmp_path: Path) -> None:
    output = tmp_path / "out"
    begin(output)
    result, checkpoints = partial_directory(output), working_directory(output) / "checkpoints"
    (result / ".progress.json.123").write_text("{")
    (result / "metrics.json").write_text("{}")
    (checkpoints / ".step-2").mkdir()
    (checkpoints / ".step-2" / "half").write_text("x")
    with owned(output, THIS):
        assert {path.name for path in result.iterdir()} == {"made.txt", "settings.json"}
        assert [path.name for path in checkpoints.iterdir()] == ["step-1"]


def test_a_manifest_that_a_model_left_does_not_make_a_result_complete(tmp_path: Path) -> None:
    output = tmp_path / "out"
    begin(output)
    artifacts.write_manifest(partial_directory(output))
    with owned(output, THIS):
        assert not output.exists()


def test_checkpoints_of_a_run_that_nobody_claimed_are_not_taken_up(tmp_path: Path) -> None:
    output = tmp_path / "out"
    begin(output)
    (partial_directory(output) / "made.txt").unlink()
    (partial_directory(output) / "settings.json").unlink()
    with owned(output, THIS):
        assert not (working_directory(output) / "checkpoints").exists()
        assert json.loads((partial_directory(output) / "settings.json").read_text()) == THIS


def test_strangers_beside_the_result_are_refused(tmp_path: Path) -> None:
    begin(tmp_path / "out")
    (working_directory(tmp_path / "out") / "holiday.jpg").write_text("x")
    with pytest.raises(ArtifactError, match=r"holiday.jpg"), owned(tmp_path / "out", THIS):
        pass
