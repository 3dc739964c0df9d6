"""What the comparison with TRL's reward trainer makes of its measurements."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.bench_reward import SPEED, bars, compare, sides_of, speed_of
from benchmarks.reward_world import Setting

HUNDRED = Setting(k=2, tokens=1, prompts=100, steps=1)


def turn(cpu_s: float, **changes: Any) -> dict[str, Any]:
    fixed = {"wall_s": 2 * cpu_s, "steps_per_iteration": [1.0], "load_average": 1}
    return {"cpu_s": cpu_s} | fixed | changes


def test_speed_is_the_ratio_of_medians() -> None:
    found = speed_of({"trl": [turn(1.0), turn(2.0), turn(50.0)], "packed": [turn(0.5), turn(0.1), turn(0.4)]}, HUNDRED)
    assert found["trl"]["pairs_per_cpu_s"] == 50
    assert (found["packed"]["least"], found["packed"]["most"]) == (200, 1000)
    assert found["ratio"] == {"packed": pytest.approx(5.0)}


def test_a_side_that_steps_more_often_is_refused() -> None:
    with pytest.raises(ValueError, match="packed did not take one"):
        speed_of({"trl": [turn(1.0)], "packed": [turn(1.0, steps_per_iteration=[2.0])]}, HUNDRED)


def learned(*differences: float) -> list[dict[str, dict[str, float]]]:
    return [
        {"packed": {"accuracy": 0.7 + each, "loss": 0.5}, "trl": {"accuracy": 0.7, "loss": 0.5}} for each in differences
    ]


def test_equal_quality_is_judged_by_the_interval_of_the_difference() -> None:
    found = compare(learned(0.01, -0.01, 0.0))
    assert found["accuracy"]["difference"] == pytest.approx(0.0)
    assert found["accuracy"]["interval"] == pytest.approx([-0.01 * 4.303 / 3**0.5, 0.01 * 4.303 / 3**0.5])
    assert found["loss"]["largest_difference"] == 0.0
    assert all(bar.passed for bar in bars({"quality": found, "speed": {}}))
    worse = bars({"quality": compare(learned(-0.05, -0.04, -0.05)), "speed": {}})
    assert [bar.passed for bar in worse] == [False, False, True]


def test_bars_are_those_of_the_settings_that_were_measured() -> None:
    quality = compare(learned(0.0, 0.0))
    ratios = {name: {"ratio": {"packed": 3.0, "padded": 3.0}} for name in SPEED}
    assert len(bars({"quality": quality, "speed": ratios})) == 3 + 7
    found = bars({"quality": quality, "speed": {"k4": ratios["k4"]}})
    assert [(bar.target, bar.passed) for bar in found[3:]] == [(2.8, True), (4.0, False)]


def test_padded_rows_take_part_where_they_are_compared() -> None:
    assert sides_of("speed-k4") == ("trl", "packed", "padded")
    assert sides_of("speed-k4_long") == sides_of("quality-1") == ("trl", "packed")
