"""A verdict follows from the whole interval; figures behind claims are those that the sentences name."""

import math
from dataclasses import replace

import pytest

from benchmarks.paper.findings import FINDINGS, Claim, at_equal_gain, change, folds, late_change
from benchmarks.paper.summary import Estimate, Results


@pytest.mark.parametrize(
    ("low", "high", "op", "verdict"),
    [
        (0.61, 0.70, ">", "holds"),
        (0.55, 0.70, ">", "undecided"),
        (0.60, 0.70, ">", "undecided"),
        (0.40, 0.59, ">", "does not hold"),
        (0.40, 0.59, "<", "holds"),
        (0.61, 0.70, "<", "does not hold"),
        (math.nan, math.nan, ">", "undecided"),
    ],
)
def test_verdicts(low: float, high: float, op: str, verdict: str) -> None:
    claim = Claim("it is so", (), Estimate(0.6, low, high, (0.6,)), ">", 0.6)
    assert replace(claim, op=op).verdict == verdict


def test_without_figures_nothing_is_measured() -> None:
    empty = Results((), {}, {}, {}, {})
    claims = [claim for find in FINDINGS.values() for claim in find(empty)]
    assert len(claims) >= 15
    assert {claim.verdict for claim in claims} == {"not measured"}


def test_invented_results_give_the_verdicts_that_they_were_invented_for(made_up_results: Results) -> None:
    found = {claim.says: claim for find in FINDINGS.values() for claim in find(made_up_results)}
    assert len(found) == sum(len(find(made_up_results)) for find in FINDINGS.values())
    ptx = found["with ptx the loss on pretraining text stays within 2 % of its start"]
    assert ptx.verdict == "holds"
    assert ptx.measured
    assert ptx.measured.mean == pytest.approx(0.01)
    assert found["a few-shot prefix makes the base better"].verdict != "holds"
    invents = found["PPO-ptx invents half as often as the base, or less"].measured
    assert invents
    assert invents.mean == pytest.approx((0.45 - 0.35 * 0.9) / (0.45 - 0.35 * 0.1))
    assert found["while the gold score falls"].verdict == "holds"


def test_losses_are_compared_where_the_same_was_gained(made_up_results: Results) -> None:
    slow = [{"reward": 0.1 * step, "pretraining_loss": 2 * (1 + 0.01 * step)} for step in range(11)]
    fast = [{"reward": 0.5 * step, "pretraining_loss": 4 * (1 + 0.1 * step)} for step in range(11)]
    runs = {"ppo-ptx": {"points": {"1": slow}}, "ppo": {"points": {"1": fast}}}
    found = at_equal_gain(replace(made_up_results, series=runs), "ppo")
    assert found.gain == pytest.approx({"1": 1.0})
    assert found.other == pytest.approx({"1": 0.2})
    assert found.ptx == pytest.approx({"1": 0.1})
    other_way = {"ppo-ptx": {"points": {"1": fast}}, "ppo": {"points": {"1": slow}}}
    assert at_equal_gain(replace(made_up_results, series=other_way), "ppo").ptx == pytest.approx({"1": 0.2})
    assert change(replace(made_up_results, series=runs), "ppo") == pytest.approx({"1": 1.0})


def test_folds_are_averaged_within_a_seed_that_has_them_all(made_up_results: Results) -> None:
    own = folds(made_up_results, "own_accuracy")
    assert set(own) == {"1", "2", "3"}
    first = [made_up_results.figure(f"reward-fold-{number}", "own_accuracy")["1"] for number in range(5)]
    assert own["1"] == pytest.approx(sum(first) / 5)
    less = {arm: by for arm, by in made_up_results.figures.items() if arm != "reward-fold-3"}
    assert folds(replace(made_up_results, figures=less), "own_accuracy") == {}


def test_late_is_the_last_quarter_against_the_second() -> None:
    rows = [{"gold": value} for value in (9.0, 9.0, 1.0, 3.0, 9.0, 9.0, 5.0, 7.0)]
    assert late_change(rows, "gold") == 4.0
