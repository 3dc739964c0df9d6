"""The GPU benchmark: the same path on a CPU, whole, and what it says where there is no device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import bench_gpu
from benchmarks.gpu_world import REAL


@pytest.fixture(autouse=True)
def report_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of tests are no measurements."""
    monkeypatch.setattr("benchmarks.common.ROOT", tmp_path)


def test_without_a_device_it_says_so_and_measures_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench_gpu.main(["--directory", str(tmp_path / "gpu")]) == 2
    assert "no CUDA device here; nothing is measured" in capsys.readouterr().out
    assert not (tmp_path / "gpu").exists()
    assert bench_gpu.main(["--needs"]) == 0
    ours, trl = capsys.readouterr().out.splitlines()
    assert "--only-binary=:all:" in ours
    assert "--no-deps trl==1.12.0" in trl


def test_our_side_goes_the_whole_way_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_gpu.main(["--tiny", "--side", "ours", "--directory", str(tmp_path / "gpu")]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    ours = found["figures"]["ours"]
    assert found["bars"] == []
    assert list(ours["phases"]) == ["push", "sample", "score", "learn"]
    assert ours["steps"] == [4, 4], "two iterations of two minibatches, policy and value model"
    assert all(row["s"] > 0 and row["peak_mib"] > 50 for row in ours["phases"].values())
    assert ours["phases"]["learn"]["tokens_per_s"] > ours["phases"]["learn"]["tflops_per_s"] > 0
    assert ours["last"]["sampler/gap_max"] < 1e-3
    assert ours["stopped"] is None
    assert (found["figures"]["device"], found["figures"]["sampler"]) == ("CPU", "transformers")
    assert any(line.startswith("  sample") and "tok/s" in line for line in lines)


@pytest.mark.slow
def test_trl_goes_the_whole_way_on_a_cpu_with_as_many_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not (bench_gpu.TRL / "trl-1.12.0").is_dir():
        pytest.fail("`deploy/setup.sh test` installs TRL")
    assert bench_gpu.main(["--tiny", "--side", "trl", "--directory", str(tmp_path / "gpu")]) == 0
    trl = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]["trl"]
    assert list(trl["phases"]) == ["sample", "score", "learn"], trl
    assert trl["steps"] == [4]


def test_a_side_that_fails_or_takes_too_long_is_reported_with_its_reason(tmp_path: Path) -> None:
    given = {"output": str(tmp_path / "out"), "size": {"no_such": 1}, "directory": str(tmp_path), "device": "cpu"}
    failed = bench_gpu.run("ours", given, tmp_path, 100.0)
    assert "no_such" in failed["failed"]
    assert bench_gpu.run("ours", given, tmp_path, 0.0) == {"failed": "not done after 0 s"}
    assert bench_gpu.figures("ours", failed, REAL, warm_up=1) == failed
    assert bench_gpu.printed("ours", failed) == [f"ours: {failed['failed']}"]


def test_trl_learns_from_episodes_only_and_steps_must_be_equal() -> None:
    spans = [{"phase": "learn", "iteration": 1, "began_s": 0.0, "s": 10.0, "peak_mib": 5.0}]
    found = {"spans": spans, "seen": [], "steps": [16], "wall_s": 1.0}
    sides = {name: bench_gpu.figures(name, found, REAL, warm_up=1) for name in ("ours", "trl")}
    assert sides["ours"]["phases"]["learn"]["tokens_per_s"] == (REAL.tokens + REAL.ptx_tokens) / 10
    assert sides["trl"]["phases"]["learn"]["tokens_per_s"] == REAL.tokens / 10
    ratio = sides["ours"]["phases"]["learn"]["tflops_per_s"] / sides["trl"]["phases"]["learn"]["tflops_per_s"]
    assert ratio == pytest.approx((2 * REAL.tokens + REAL.ptx_tokens) / (2 * REAL.tokens))
    assert bench_gpu.equal_steps(sides)
    assert not bench_gpu.equal_steps(sides | {"trl": {**sides["trl"], "steps": [15]}})
    assert not bench_gpu.equal_steps(sides | {"trl": {"failed": "no"}})
