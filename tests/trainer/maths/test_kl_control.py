"""The adaptive KL coefficient against the published formula."""

from __future__ import annotations

import pytest

from trainer.maths.kl_control import BUDGET_ERROR, next_kl_coef


def test_on_target_the_coefficient_stays() -> None:
    assert next_kl_coef(0.02, 6.0, target_nats=6.0, horizon=10_000, episodes=512) == 0.02


@pytest.mark.parametrize(("kl", "error"), [(12.0, 0.2), (6.6, 0.1), (0.0, -0.2), (5.7, -0.05)])
def test_step_response_is_proportional_and_clipped_at_a_fifth(kl: float, error: float) -> None:
    got = next_kl_coef(0.02, kl, target_nats=6.0, horizon=10_000, episodes=512)
    assert got == pytest.approx(0.02 * (1 + error * 512 / 10_000))


def test_horizon_is_counted_in_episodes_not_iterations() -> None:
    coefficient = 0.02
    for _ in range(10):
        coefficient = next_kl_coef(coefficient, 100.0, target_nats=6.0, horizon=1000, episodes=100)
    assert coefficient == pytest.approx(0.02 * 1.02**10)


def test_target_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        next_kl_coef(0.02, 1.0, target_nats=0.0, horizon=10, episodes=1)


def test_over_a_budget_the_coefficient_rises_faster_and_it_never_sinks_below_its_start() -> None:
    rule = {"target_nats": 4.0, "horizon": 100, "episodes": 10, "most_error": BUDGET_ERROR, "least": 0.02}
    assert next_kl_coef(0.05, 12.0, **rule) == pytest.approx(0.05 * 1.1)
    assert next_kl_coef(0.05, 6.0, **rule) == pytest.approx(0.05 * 1.05)
    assert next_kl_coef(0.05, 1.0, **rule) == pytest.approx(0.05 * 0.98)
    assert next_kl_coef(0.02, 0.0, **rule) == 0.02
