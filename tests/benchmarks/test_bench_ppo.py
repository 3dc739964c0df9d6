"""What the benchmark of PPO makes of its measurements."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.bench_ppo import SEEDS, bars, costs, interval, ratios, require_equal_steps, summary


def turn(cpu_s: float, *, episodes: int = 100, steps: tuple[float, ...] = (8.0, 8.0)) -> dict[str, Any]:
    return {
        "episodes": episodes, "cpu_s": cpu_s, "wall_s": 2 * cpu_s, "steps_per_iteration": list(steps),
        "phases_cpu_s": {"generate": 0.25 * cpu_s, "train": 0.5 * cpu_s}, "peak_rss_mib": 500.0,
    }  # fmt: skip


def parts(gold: list[float], times: float, memory: float) -> dict[str, Any]:
    learned = {
        f"learning-{seed}": {
            "times_first": {"ours": {"values": [times, times]}},
            "start": {"gold": 0.1},
            "learned": {"trl": {"gold": 1.0}, "ours": {"gold": own}},
        }
        for seed, own in zip(SEEDS, gold, strict=True)
    }
    full = {f"full-length-{tokens}": {"times_first": {"ours": {"median": 1.5}}} for tokens in (32, 128)}
    return learned | full | {"memory": {"ours_of_trl": memory}}


def verdicts(figures: dict[str, Any]) -> dict[str, bool]:
    figures = figures | {"summary": summary(figures)}
    return {bar.name: bar.passed for bar in bars(figures)}


def test_a_side_costs_what_its_turns_cost() -> None:
    found = costs([turn(2.0), turn(4.0), turn(5.0)], iterations_a_turn=2)
    assert found["episodes_per_cpu_s"] == {"median": 25.0, "low": 20.0, "high": 50.0, "values": [50.0, 25.0, 20.0]}
    phases = found["cpu_s_per_iteration"]
    assert phases["all"] == pytest.approx(11 / 6)
    assert phases["generate"] + phases["train"] + phases["score_and_rest"] == pytest.approx(phases["all"])


def test_pairs_are_compared_one_by_one() -> None:
    assert ratios([turn(4.0), turn(9.0), turn(6.0)], [turn(2.0), turn(3.0), turn(6.0)])["values"] == [2.0, 3.0, 1.0]


def test_the_interval_is_students() -> None:
    found = interval([1.0, 2.0, 3.0])
    assert found["mean"] == 2.0
    assert found["high"] - 2.0 == pytest.approx(4.303 / 3**0.5)
    assert 2.0 - found["low"] == pytest.approx(4.303 / 3**0.5)


def test_speed_counts_only_at_equal_gold_reward() -> None:
    assert all(verdicts(parts([1.1, 0.98, 1.0, 1.0], 2.1, 0.5)).values())
    worse = verdicts(parts([0.5, 0.51, 0.52, 0.5], 2.1, 0.5))
    assert not worse["gold_reward_not_lower_than_trl"]
    assert not worse["episodes_per_cpu_s_of_trl"]
    assert not verdicts(parts([1.0, 1.01, 1.02, 1.0], 1.9, 0.5))["episodes_per_cpu_s_of_trl"]
    assert not verdicts(parts([1.0, 1.01, 1.02, 1.0], 2.1, 0.8))["peak_memory_of_trl"]


@pytest.mark.parametrize(("side", "steps"), [("trl", (8.0,)), ("ours", (8.0, 8.0))])
def test_a_side_that_takes_other_steps_is_refused(side: str, steps: tuple[float, ...]) -> None:
    require_equal_steps(side, turn(1.0, steps=steps))
    with pytest.raises(RuntimeError, match="optimizer steps"):
        require_equal_steps(side, turn(1.0, steps=tuple(s / 2 for s in steps)))
