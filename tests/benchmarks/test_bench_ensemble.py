"""The benchmark of ensembles would see a score that turns, one that does not, and a promise that is broken."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks.bench_ensemble import ARMS, SMOOTHED, bars, compare, interval, peak, pooled


def curve(gold: list[float]) -> list[dict[str, float]]:
    """A run whose KL is the number of the iteration."""
    return [{"kl_nats": float(at), "scores": float(at), "held_out_scores": value} for at, value in enumerate(gold)]


def test_a_score_that_turns_has_its_peak_and_fall_where_they_are() -> None:
    found = peak(curve([0.5 + 0.01 * at for at in range(50)] + [1.0 - 0.01 * at for at in range(50)]))
    assert found["iteration"] == pytest.approx(50, abs=1)
    assert found["kl_nats"] == pytest.approx(50, abs=1)
    assert found["gold"] == pytest.approx(0.98, abs=0.02)
    assert found["end"] == pytest.approx(0.55, abs=0.02)
    assert found["held_kl_nats"] == pytest.approx(60, abs=2)  # a tenth of 0.98 further
    assert found["fall"] == pytest.approx((found["gold"] - found["end"]) / found["gold"])
    assert found["fall_of_gain"] == pytest.approx((found["gold"] - found["end"]) / (found["gold"] - found["start"]))


def test_a_score_that_rises_to_the_end_falls_nothing() -> None:
    found = peak(curve([0.1 * at for at in range(30)]))
    assert found["iteration"] == 29 - SMOOTHED // 2
    assert found["fall"] == found["fall_of_gain"] == 0.0
    assert peak(curve([0.3, 0.2]))["end"] == pytest.approx(0.25)


def test_arms_are_compared_seed_by_seed() -> None:
    def run(kl_nats: float, gold: float) -> dict[str, float]:
        rest = {
            "start": 0.0,
            "end": gold / 2,
            "held_kl_nats": 2 * kl_nats,
            "end_kl_nats": 9.0,
            "fall": 0.5,
            "fall_of_gain": 0.5,
        }
        return {"kl_nats": kl_nats, "gold": gold} | rest

    arms = {"one": [run(2.0, 0.4), run(8.0, 0.6)], "mean": [run(4.0, 0.5), run(4.0, 0.6)]}
    arms["penalised"] = [run(8.0, 0.8), run(8.0, 0.8)]
    found = compare(arms)
    assert found["mean_against_one"]["kl_ratio"]["mean"] == pytest.approx(1.0)  # twice, and half
    assert found["penalised_against_one"]["kl_ratio"]["mean"] == pytest.approx(2.0)  # four times, and once
    assert found["penalised_against_one"]["held_kl_ratio"]["seeds"] == pytest.approx([4.0, 1.0])
    assert found["penalised_against_one"]["gold"]["seeds"] == pytest.approx([0.4, 0.2])
    assert found["penalised_against_one"]["end"]["mean"] == pytest.approx(0.15)


def test_reward_models_are_averaged_over_seeds() -> None:
    def seed(one: float, mean: float) -> dict[str, Any]:
        spread = {"mean": 1.0, "separation": 0.6, "separation_by_gap": 0.6, "separation_by_ratio": 0.6}
        return {
            "one": {"accuracy": one, "calibration_error": 0.1},
            "mean": {"accuracy": mean, "calibration_error": 0.05},
            "mixture_calibration_error": 0.04,
            "members": [{"accuracy": one}, {"accuracy": one + 0.02}],
            "spread": spread | {"accuracy_by_quarter": [mean + 0.1, mean, mean, mean - 0.1]},
        }

    found = pooled([seed(0.6, 0.65), seed(0.62, 0.65), seed(0.64, 0.65)])
    assert found["accuracy_member"]["mean"] == pytest.approx(0.63)
    assert found["accuracy_gain"]["seeds"] == pytest.approx([0.05, 0.03, 0.01])
    assert found["accuracy_gain"]["high"] == pytest.approx(0.03 + 4.303 * 0.02 / math.sqrt(3))
    assert found["accuracy_by_quarter_of_spread"] == pytest.approx([0.75, 0.65, 0.65, 0.55])
    assert math.isnan(interval([1.0])["low"])


def test_every_promise_can_be_broken() -> None:
    def found(ratio: float, fall: float, error: float, one: float) -> list[bool]:
        figures = {arm: {"fall": {"mean": one if arm == "one" else fall}} for arm in ARMS}
        figures |= {"penalised_against_one": {"kl_ratio": {"mean": ratio}}}
        figures |= {"reward_models": {"calibration_error_mixture": {"mean": error}}}
        return [bar.passed for bar in bars(figures)]

    assert found(2.5, 0.02, 0.03, 0.4) == [True] * 4
    assert found(1.5, 0.2, 0.06, 0.05) == [False] * 4
