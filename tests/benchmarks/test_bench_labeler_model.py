"""The summary would see a bias that was missed, one that was imagined, and what adversaries cost."""

import math
from typing import Any

import pytest

from benchmarks.bench_labeler_model import ARMS, adversaries, bars, biases, runs, spread, tastes, wilson


def test_every_run_has_a_name_of_its_own_and_those_that_the_bars_need_come_first() -> None:
    names = [name for _, name, *_ in runs()]
    assert len(set(names)) == len(names)
    last_needed = max(names.index(f"adversaries-{seed}-{who}-{model}") for seed in range(5) for who, model in ARMS[:3])
    assert last_needed < names.index("adversaries-0-one-reliability") < names.index("bias-00-brevity")


def labeled(biased: dict[str, tuple[float, float]], adversarial: bool = False) -> dict[str, Any]:
    bias = {
        name: dict(zip(("low", "high"), biased.get(name, (-0.1, 0.1)), strict=True))
        for name in ("length", "courtesy", "shown_first")
    }
    on = [name for name, each in bias.items() if each["low"] > 0 or each["high"] < 0]
    return {"bias": bias, "biased_on": on, "adversarial": adversarial}


def test_a_bias_counts_as_found_with_its_sign_only_and_the_others_are_false() -> None:
    found = biases({
        "fits-00-brevity": {"labelers": {"a": labeled({"length": (-0.9, -0.2)}), "b": labeled({"length": (0.1, 0.5)})}},
        "fits-01-haste": {"labelers": {"a": labeled({}), "b": labeled({"shown_first": (-0.5, -0.1)})}},
        "fits-02-courtesy-blind": {"labelers": {"a": labeled({}), "b": labeled({}, adversarial=True)}},
    })  # fmt: skip
    assert (found["runs"], found["recovered"]) == (2, 0.5)
    assert found["by_kind"] == {"brevity": "1 of 1", "haste": "0 of 1", "courtesy-blind": "0 of 1"}
    assert found["false_of_tests"] == "1 of 9"
    assert found["unbiased_accused"] == 1


def test_costs_are_paired_by_seed_and_a_missing_arm_has_none() -> None:
    accuracy = {"honest-none": (0.75, 0.73), "two-none": (0.70, 0.69), "two-reliability": (0.74, 0.73)}
    labelers = {"a": labeled({}, adversarial=True), "b": labeled({})}
    given = {
        f"adversaries-{seed}-{arm}": {"accuracy": values[seed], "labelers": labelers}
        for arm, values in accuracy.items()
        for seed in (0, 1)
    }
    found = adversaries(given)
    assert found["two_of_ten_cost_with_model"]["seeds"] == [1.0, 0.0]
    assert found["two_of_ten_cost_without"]["mean"] == pytest.approx(4.5)
    assert math.isnan(found["one_with_a_fifth_cost_with_model"]["mean"])
    assert found["flagged_of_two"] == [["a"], ["a"]]
    groups = {"unconditioned": (0.5, 0.55), "conditioned": (0.8, 0.7)}
    runs_of_tastes = {
        "tastes-0-none": {"by_group": dict(zip("ab", groups["unconditioned"], strict=True))},
        "tastes-0-group": {"by_group": dict(zip("ab", groups["conditioned"], strict=True)),
                           "by_group_unnamed": {"a": 0.5, "b": 0.5}},
    }  # fmt: skip
    some = {"recovered": 1.0, "false_share_of_tests": 0.02}
    kept = bars({"fits": some, "adversaries": found, "tastes": tastes(runs_of_tastes)})
    passed = {bar.name: bar.passed for bar in kept}
    assert passed["planted_bias_recovered"]
    assert passed["adversaries_cost_points"]
    assert not passed["planted_bias_recovered_while_training"], "what was not measured is not met"
    gain = next(bar.value for bar in kept if bar.name.startswith("conditioning_gain"))
    assert gain == pytest.approx(15.0)


def test_intervals_hold_what_they_are_of() -> None:
    low, high = wilson(43, 45)
    assert low < 43 / 45 < high < 1
    assert wilson(45, 45)[1] == pytest.approx(1.0)
    found = spread([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found["low"] < 3.0 == found["mean"] < found["high"]
