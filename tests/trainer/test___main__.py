"""The command line: options are the settings, one line and a code for every refusal, quick help."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from feedback.errors import DiskFull
from trainer.__main__ import EXIT_DISK_FULL, STAGES, main
from trainer.stages import score


def test_stage_runs_and_prints_its_metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.txt").write_text("the red fox sleeps in the wood\n" * 60)
    options = ["--text", str(tmp_path / "t.txt"), "--output", str(tmp_path / "base"), "--threads", "1"]
    options += ["--width", "16", "--heads", "2", "--layers", "1", "--vocab-size", "270", "--block-tokens", "8"]
    assert main(["pretrain", *options, "--max-steps", "2", "--batch-size", "4", "--no-bf16"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed == json.loads((tmp_path / "base" / "metrics.json").read_text())
    described = json.loads((tmp_path / "base" / "settings.json").read_text())
    assert described["settings"]["width"] == 16
    assert described["settings"]["lr"] == 2e-3
    assert main(["pretrain", *options]) == 1
    assert capsys.readouterr().err.startswith("error: ArtifactError: --output")
    assert main(["pretrain", *options, "--max-steps", "2", "--batch-size", "4", "--no-bf16"]) == 0
    again = capsys.readouterr()
    assert json.loads(again.out.splitlines()[-1]) == printed, "the same command once more gives the same metrics"
    assert "this run has finished; nothing was done" in again.err


def test_a_full_disk_has_an_exit_code_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(settings: object) -> None:
        raise DiskFull("no room")

    monkeypatch.setattr(score, "run", full)
    line = ["score", "--output", str(tmp_path / "o"), "--preferences", "p", "--reward-model", "r"]
    assert main(line) == EXIT_DISK_FULL == 75
    assert capsys.readouterr().err == "error: DiskFull: no room\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["reward"], "error: ConfigError: --output is required; --preferences is required"),
        (["reward", "--output", "o", "--preferences", "p", "--lr", "x"], "error: ConfigError: --lr x: "),
        (["score", "--output", "/tmp/absent/o", "--preferences", "p", "--reward-model", "/absent"], "error: Artifact"),
    ],
)
def test_refusal_is_one_line_and_code_1(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([each.replace("/tmp/absent", str(tmp_path)) for each in arguments]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(line)
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.parametrize("arguments", [[], ["fly"], ["reward", "--colour", "red"], ["sft", "--preset", "huge"]])
def test_wrong_usage_is_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("stage", STAGES)
def test_help_explains_every_option(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([stage, "--help"])
    assert caught.value.code == 0
    assert "--output" in capsys.readouterr().out


def test_help_loads_no_torch() -> None:
    code = "import sys; sys.argv = ['t', '--help']\nimport trainer.__main__ as m\n"
    code += "try: m.main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules, 'torch'"
    began_s = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=Path(__file__).parents[2])
    assert time.monotonic() - began_s < 10
