"""Win rates, intervals and the figures that betray reward hacking."""

from __future__ import annotations

import pytest
import torch

from trainer.maths.win_rates import distinct, rank_correlation, repetition, win_rate


def test_ties_count_half() -> None:
    rate = win_rate([1.0, 2.0, 3.0, 0.0], [0.0, 2.0, 4.0, 0.0])
    assert rate["mean"] == 0.5
    assert rate["n"] == 4


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for trial in range(200):
        wins = (torch.rand(100, generator=generator) < 0.6).double().tolist()
        rate = win_rate(wins, [0.5] * 100, resamples=500, seed=trial)
        covered += rate["low"] <= 0.6 <= rate["high"]
    assert 180 <= covered <= 199


def test_same_seed_same_interval() -> None:
    scores, others = torch.randn(50).tolist(), torch.randn(50).tolist()
    assert win_rate(scores, others, seed=3) == win_rate(scores, others, seed=3)


def test_unequal_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="as many"):
        win_rate([1.0], [])


def test_repetition_is_the_share_of_ngrams_seen_before() -> None:
    assert repetition([1, 2, 3, 4, 5]) == 0.0
    assert repetition([7] * 6) == pytest.approx(3 / 4)
    assert repetition([1, 2]) == 0.0


def test_distinct_falls_when_completions_are_alike() -> None:
    assert distinct([[1, 2, 3], [4, 5, 6]]) == 1.0
    assert distinct([[1, 2, 3], [1, 2, 3]]) == 0.5


def test_rank_correlation_knows_ties_and_direction() -> None:
    assert rank_correlation([1, 2, 3], [10, 20, 90]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) == 0.0
    assert rank_correlation([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9486833)
