"""The coefficient of the KL penalty between iterations: constant, or driven towards a target.

Pure numbers: knows the update rule, not how KL was measured.
"""

from __future__ import annotations

BUDGET_ERROR = 1.0
"""Largest error over a budget: five times the 2019 code's, for what is spent over a budget is not won back."""


def next_kl_coef(
    kl_coef: float,
    kl_nats: float,
    *,
    target_nats: float,
    horizon: int,
    episodes: int,
    most_error: float = 0.2,
    least: float = 0.0,
) -> float:
    """The coefficient after one iteration of the proportional controller.

    Args:
        kl_coef: the coefficient that the iteration used; reward units per nat.
        kl_nats: measured mean KL of an episode to the reference, in nats.
        target_nats: wanted mean KL of an episode, in nats; positive.
        horizon: episodes in which a saturated error of 0.2 moves the coefficient by 20 %.
        episodes: episodes in the iteration.
        most_error: largest error over the target; 0.2 in the 2019 code, `BUDGET_ERROR` for a budget.
        least: smallest coefficient; a budget never makes KL cheaper than the run began with, or the long way up to the
            target would end far above it.

    Returns:
        The next coefficient; the same one when ``kl_nats`` equals the target.

    Raises:
        ValueError: target or horizon is not positive.

    Source: Ziegler et al. 2019, arXiv:1909.08593, section 2.2, with the error clipped at 0.2.
    """
    if target_nats <= 0 or horizon <= 0:
        raise ValueError(f"KL target {target_nats} nats and horizon {horizon} episodes must both be positive")
    error = min(max(kl_nats / target_nats - 1.0, -0.2), most_error)
    return max(kl_coef * (1.0 + error * episodes / horizon), least)
