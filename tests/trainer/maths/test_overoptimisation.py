"""The curve is recovered from its points; a turn is found where there is one, and not where there is noise."""

from __future__ import annotations

import math
import random

import pytest

from trainer.maths.overoptimisation import fit, turnover

KL = [0.0, *(0.25 * 1.25**n for n in range(20))]


def gold(kl: float, alpha: float = 1.0, beta: float = 0.4, start: float = -0.5) -> float:
    d = math.sqrt(kl)
    return start + (d * (alpha - beta * math.log(d)) if d > 0 else 0.0)


def test_the_curve_is_recovered_from_its_points_with_its_peak() -> None:
    curve = fit(KL, [gold(kl) for kl in KL])
    assert curve is not None
    assert (curve.start, curve.alpha, curve.beta) == pytest.approx((-0.5, 1.0, 0.4))
    assert curve.error < 1e-9
    assert curve.peak_kl_nats == pytest.approx(math.exp(2 * (1.0 / 0.4 - 1)))
    best = max(range(1, 4000), key=lambda n: gold(0.01 * n))
    assert curve.peak_kl_nats == pytest.approx(0.01 * best, rel=1e-2)


def test_a_score_that_only_rises_has_no_peak_and_noise_is_reported() -> None:
    rising = fit(KL, [gold(kl, beta=-0.1) for kl in KL])
    assert rising is not None
    assert rising.peak_kl_nats is None
    drawn = random.Random(1)
    noisy = fit(KL, [gold(kl) + drawn.gauss(0, 0.1) for kl in KL])
    assert noisy is not None
    assert 0.05 < noisy.error < 0.15
    assert noisy.alpha == pytest.approx(1.0, abs=0.3)


def test_too_few_points_fit_nothing_and_lists_must_match() -> None:
    assert fit([0.0, 1.0, 2.0, 2.0], [0.0, 1.0, 2.0, 2.0]) is None
    assert fit([-0.1, -0.2, 0.0, 1.0, 2.0, 3.0], [0.0] * 6) is None
    with pytest.raises(ValueError, match="3 and 2"):
        fit([1.0, 2.0, 3.0], [1.0, 2.0])


def series(points: int, turn: int, noise: float, seed: int, slope: float = 0.1) -> list[float]:
    """Rises by ``slope`` a point to ``turn``, then falls as fast."""
    drawn = random.Random(seed)
    return [slope * (turn - abs(n - turn)) + drawn.gauss(0, noise) for n in range(points)]


def test_a_turn_is_found_soon_after_it_with_its_place_and_size() -> None:
    scores = series(60, turn=30, noise=0.1, seed=2)
    found = [turnover(scores[:n]) for n in range(1, 61)]
    first = next(n for n, each in enumerate(found) if each is not None)
    assert 31 < first <= 40
    assert found[-1] is not None
    assert abs(found[-1].peak_at - 30) <= 3
    assert found[-1].fall == pytest.approx(27 / 29, abs=0.15)


@pytest.mark.parametrize("slope", [0.0, 0.02])
def test_noise_is_no_turn(slope: float) -> None:
    alarms = 0
    for seed in range(20):
        scores = series(100, turn=1000, noise=0.3, seed=seed, slope=slope)
        scores = [score - scores[0] for score in scores]
        alarms += sum((each := turnover(scores[:n])) is not None and each.fall > 0.1 for n in range(1, 101))
    # A guard wants three in a row; of 2,000 looks at pure noise one per cent may be false ones.
    assert alarms <= 20


def test_constant_and_short_series_have_no_turn() -> None:
    assert turnover([1.0] * 40) is None
    assert turnover([1.0, 2.0, 0.0]) is None


def test_a_score_that_falls_from_the_start_is_a_turn() -> None:
    found = turnover([1.0 - 0.1 * n for n in range(20)])
    assert found is not None
    assert found.peak_at <= 2
    assert found.fall > 1
