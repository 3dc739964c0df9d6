"""Reliability against a hand count, and the area under the ROC curve against brute force."""

from __future__ import annotations

import math
import random

import pytest

from trainer.maths.calibration import by_quantile, chance_of, expected_error, reliability, separation


def test_the_table_is_a_hand_count() -> None:
    table = reliability([0.9, 0.92, 0.08, 0.65, 0.5], bins=5)
    assert [each["pairs"] for each in table] == [1, 1, 3]
    assert [each["accuracy"] for each in table] == pytest.approx([0.5, 1.0, 2 / 3])
    assert [each["confidence"] for each in table] == pytest.approx([0.5, 0.65, (0.9 + 0.92 + 0.92) / 3])
    assert expected_error(table) == pytest.approx((0.35 + 3 * abs(2 / 3 - 2.74 / 3)) / 5)


def test_true_probabilities_have_no_error_and_doubled_logits_have() -> None:
    rng = random.Random(0)
    gaps = [rng.gauss(0, 1.5) for _ in range(20_000)]
    said = [gap if rng.random() < chance_of(gap) else -gap for gap in gaps]
    assert expected_error(reliability([chance_of(gap) for gap in said])) < 0.012
    assert expected_error(reliability([chance_of(2 * gap) for gap in said])) > 0.06


def test_a_chance_is_finite_for_any_gap() -> None:
    assert chance_of(math.log(3)) == pytest.approx(0.75)
    assert chance_of(1e5) == 1.0
    assert 0.0 <= chance_of(-1e5) < 1e-300


def test_separation_is_what_all_pairs_say() -> None:
    rng = random.Random(1)
    doubts = [float(rng.randint(0, 9)) for _ in range(60)]
    wrong = [rng.random() < 0.1 + 0.08 * doubt for doubt in doubts]
    brute = [
        1.0 if doubts[w] > doubts[r] else 0.5 if doubts[w] == doubts[r] else 0.0
        for w in range(60) if wrong[w]
        for r in range(60) if not wrong[r]
    ]  # fmt: skip
    assert separation(doubts, wrong) == pytest.approx(sum(brute) / len(brute))
    assert separation([1.0, 2.0, 3.0], [False, False, True]) == 1.0
    assert separation([1.0, 2.0], [True, True]) is None


def test_quarters_begin_with_the_least_doubt() -> None:
    assert by_quantile([4, 1, 3, 2, 8, 7, 6, 5], [0, 1, 1, 1, 0, 0, 0, 1]) == [1.0, 0.5, 0.5, 0.0]
    with pytest.raises(ValueError, match="3 items do not fill 4 parts"):
        by_quantile([1, 2, 3], [1, 1, 1])
