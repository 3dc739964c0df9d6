"""What members say together, on rewards whose truth is known."""

from __future__ import annotations

import random
from statistics import fmean

import pytest

from trainer.maths.ensemble_report import average, deviation_within, foretold, report_members, scaled
from trainer.maths.pair_report import JudgedPrompt


def prompt(*rewards: float) -> JudgedPrompt:
    return JudgedPrompt(rewards=rewards, lengths=[1] * len(rewards), pairs=[(0, 1)])


def noisy_members(prompts: int, noises: tuple[float, float], members: int = 3) -> list[list[JudgedPrompt]]:
    """Members that see the true gap of 1 through noise of their own: little on even prompts, much on odd ones."""
    rng = random.Random(2)
    return [[prompt(1.0 + rng.gauss(0, noises[n % 2]), 0.0) for n in range(prompts)] for _ in range(members)]


def test_the_mean_is_more_accurate_than_its_members_where_their_errors_are_their_own() -> None:
    found = report_members(noisy_members(800, (1.0, 1.0)), bootstrap=20)
    alone = [each["accuracy"] for each in found["members"]]
    assert found["mean"]["pairs"] == 800
    assert found["mean"]["accuracy"] > max(alone) + 0.05


def test_spread_foretells_errors_where_members_differ_for_a_reason_only() -> None:
    telling = report_members(noisy_members(2000, (0.1, 2.5)), bootstrap=20)["spread"]
    assert telling["separation"] > 0.75
    quarters = telling["accuracy_by_quarter"]
    assert quarters[0] == 1.0
    assert quarters[0] > quarters[-1] + 0.15
    mute = report_members(noisy_members(2000, (1.0, 1.0)), bootstrap=20)["spread"]
    assert mute["separation"] == pytest.approx(0.5, abs=0.05)


def test_the_mixture_is_less_certain_than_the_mean_where_members_disagree() -> None:
    members = [[prompt(6.0, 0.0)] * 30, [prompt(6.0, 0.0)] * 30, [prompt(-6.0, 0.0)] * 30]
    found = report_members(members, bootstrap=2)
    (of_mean,), (of_mixture,) = found["reliability"], found["mixture"]["reliability"]
    assert of_mean["confidence"] == pytest.approx(0.8808, abs=1e-4)  # sigmoid(2)
    assert of_mixture["confidence"] == pytest.approx(0.6658, abs=1e-4)  # (2 sigmoid(6) + sigmoid(-6)) / 3
    assert found["mixture"]["calibration_error"] == pytest.approx(1 - of_mixture["confidence"])


def test_averages_and_scales_are_of_each_completion() -> None:
    members = [[prompt(1.0, 3.0)], [prompt(2.0, 8.0)]]
    assert average(members)[0].rewards == [1.5, 5.5]
    assert scaled(members[1], 0.5)[0].rewards == [1.0, 4.0]
    assert deviation_within([prompt(1.0, 3.0), prompt(10.0, 10.0)]) == pytest.approx(0.5**0.5)
    assert deviation_within([]) == 0.0


def test_without_a_judged_pair_there_are_only_counts() -> None:
    nothing = JudgedPrompt(rewards=[1.0, 2.0], lengths=[1, 1], pairs=[])
    assert report_members([[nothing], [nothing]]) == {"mean": {"prompts": 0, "pairs": 0}}
    few = foretold([[1.0, -1.0], [2.0, -3.0]])
    assert (few["accuracy_by_quarter"], few["separation"]) == (None, 1.0)
    assert few["mean"] == pytest.approx(fmean([0.5**0.5, 2**0.5]))
