"""TRL's reward trainer and our stage, each in its process: after the same steps the same reward model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import bench_reward
from benchmarks.ppo_world import Problem
from benchmarks.reward_world import Setting, draw, ready


@pytest.mark.slow
def test_both_sides_end_where_the_other_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_reward, "DIRECTORY", tmp_path)
    problem = ready(Problem(tmp_path / "problem", vocabulary=64, width=32, layers=2))
    monkeypatch.setattr(bench_reward, "TURNS", 3)
    setting = Setting(k=3, tokens=8, prompts=4, steps=6, seed=1)
    pieces = {"quality-1": setting, "speed-long": replace(setting, steps=3)}
    measured = bench_reward.measure(problem, pieces)
    found = measured["quality-1"]
    assert found["packed"]["loss"] == pytest.approx(found["trl"]["loss"], abs=1e-5)
    speed = bench_reward.speed_of(measured["speed-long"], pieces["speed-long"])
    assert speed["ratio"]["packed"] > 0
    assert bench_reward.measure(problem, pieces) == measured, "kept"
    rows = draw(setting, problem, bench_reward.HELD_OUT, seed=10_001)
    untrained = bench_reward.judged(bench_reward.scalar_model(problem.directory / "value"), rows)
    assert abs(found["trl"]["loss"] - untrained["loss"]) > 1e-3, "they moved"
