"""TRL's reward trainer and our stage, each in its process: after the same steps the same reward model."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import bench_reward
from benchmarks.ppo_world import Problem
from benchmarks.reward_world import Setting, draw, ready


@pytest.mark.slow
def test_both_sides_end_where_the_other_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_reward, "DIRECTORY", tmp_path)
    problem = ready(Problem(tmp_path / "problem", vocabulary=64, width=32, layers=2))
    setting = Setting(k=3, tokens=8, prompts=4, steps=6, seed=1)
    found = bench_reward.quality(problem, setting)
    assert found["packed"]["loss"] == pytest.approx(found["trl"]["loss"], abs=1e-5)
    rows = draw(setting, problem, bench_reward.HELD_OUT, seed=10_001)
    untrained = bench_reward.judged(bench_reward.scalar_model(problem.directory / "value"), rows)
    assert abs(found["trl"]["loss"] - untrained["loss"]) > 1e-3, "they moved"
