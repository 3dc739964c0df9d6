"""The benchmark of labelers' honesty counts what it says it counts."""

import random

import pytest

from benchmarks.bench_labelers import (
    MISDEEDS,
    SETTING,
    K,
    Outcome,
    bars,
    make_stock,
    reversing,
    share,
    simulate,
    summary,
)
from sandbox.labelers import View

THOUGHT = View([[2], [0, 3], [1]], [4, 1, 7, 4], {})


def test_a_reversed_label_says_the_opposite_with_its_scores() -> None:
    said = reversing(1.0)(THOUGHT, random.Random(0))
    assert said.ranking == [[1], [0, 3], [2]]
    assert said.quality == [4, 7, 1, 4]
    assert reversing(0.0)(THOUGHT, random.Random(0)) == THOUGHT


def test_about_the_given_share_is_reversed() -> None:
    rng, misdeed = random.Random(0), reversing(0.2)
    turned = sum(misdeed(THOUGHT, rng) != THOUGHT for _ in range(2000))
    assert turned / 2000 == pytest.approx(0.2, abs=0.03)


def test_clicks_know_nothing_of_the_texts() -> None:
    assert MISDEEDS["clicks_first"](THOUGHT, random.Random(0)).ranking == [[0], [1], [2], [3]]
    drawn = [MISDEEDS["clicks_at_random"](THOUGHT, random.Random(seed)).ranking[0][0] for seed in range(400)]
    assert all(70 < drawn.count(index) < 130 for index in range(K))


def test_a_blatant_culprit_is_found_at_once() -> None:
    outcome = simulate(make_stock(200), MISDEEDS["reverses_all"], SETTING, seed=1)
    assert outcome.flagged_after is not None
    assert outcome.flagged_after <= 10


def test_with_checks_alone_labels_are_counted_between_them() -> None:
    outcome = simulate(make_stock(200), MISDEEDS["reverses_all"], 1, seed=1)
    assert outcome.flagged_after is not None
    assert outcome.flagged_after % 10 == 0


def test_who_was_never_flagged_counts_as_later_than_all() -> None:
    found = summary([Outcome(10, 0), Outcome(None, 3), Outcome(None, 0)])
    assert found["flagged"]["share"] == pytest.approx(1 / 3)
    assert found["median_labels"] == 51
    assert found["honest_flagged"]["share"] == pytest.approx(3 / 27)
    assert found["teams_with_an_honest_one_flagged"]["share"] == pytest.approx(1 / 3)


def test_the_bars_fail_where_culprits_pass_or_honest_ones_are_hit() -> None:
    good = {name: {f"overlap_{SETTING}": summary([Outcome(9, 0)] * 20)} for name in MISDEEDS}
    assert all(bar.passed for bar in bars(good))
    missed = good | {
        "reverses_20_percent": {f"overlap_{SETTING}": summary([Outcome(9, 0)] * 18 + [Outcome(None, 0)] * 2)}
    }
    assert [bar.passed for bar in bars(missed)] == [False, True, True]
    hit = good | {"clicks_first": {f"overlap_{SETTING}": summary([Outcome(9, 1)] * 20)}}
    assert [bar.passed for bar in bars(hit)] == [True, True, False]


def test_a_share_has_its_interval() -> None:
    assert share(95, 100)["low"] == pytest.approx(0.888, abs=0.001)
