"""Pausing: sure of it, never on a few checks, and not twice for the same ones."""

from datetime import datetime, timedelta

from feedback.quality import pausing
from tests.builders import NOON


def results(*passed: bool) -> list[tuple[datetime, bool]]:
    return [(NOON + timedelta(hours=hour), each) for hour, each in enumerate(passed)]


def test_who_fails_half_of_thirty_is_paused_since_the_last_pass() -> None:
    found = pausing.decide(results(*[True] * 15, *[False] * 15), 0.8, NOON)
    assert found is not None
    assert found.quarantine_from == NOON + timedelta(hours=14)
    assert "50%" in found.reason
    assert "30 checks" in found.reason


def test_the_upper_bound_decides() -> None:
    assert pausing.decide(results(*[True] * 19, *[False] * 11), 0.8, NOON) is not None
    assert pausing.decide(results(*[True] * 20, *[False] * 10), 0.8, NOON) is None


def test_a_few_checks_pause_nobody() -> None:
    assert pausing.decide(results(*[False] * 9), 0.8, NOON) is None
    found = pausing.decide(results(*[False] * 10), 0.8, NOON - timedelta(days=3))
    assert found is not None
    assert found.quarantine_from == NOON - timedelta(days=3)


def test_only_the_last_checks_count() -> None:
    assert pausing.decide(results(*[False] * 30, *[True] * 30), 0.8, NOON) is None
    assert pausing.decide(results(*[True] * 30, *[False] * 30), 0.8, NOON) is not None


def test_what_an_operator_forgave_counts_no_more() -> None:
    failed = results(*[False] * 20)
    assert pausing.decide(failed, 0.8, NOON, forgiven=failed[-1][0]) is None
    later = pausing.decide(failed, 0.8, NOON, forgiven=failed[5][0])
    assert later is not None
    assert later.quarantine_from == failed[5][0]


def test_a_bar_of_nothing_pauses_nobody() -> None:
    assert pausing.decide(results(*[False] * 30), 0.0, NOON) is None


def test_the_docstring_says_true_figures() -> None:
    """0.95 of honest labelers' checks pass: how often would either bound pause at thirty checks?"""
    from scipy.stats import binom

    from feedback.quality.biases import wilson

    def chance(bound: str) -> float:
        below = [hits for hits in range(31) if getattr(wilson(hits, 30), bound) < 0.8]
        return float(sum(binom.pmf(hits, 30, 0.95) for hits in below))

    assert round(chance("low"), 2) == 0.45
    assert chance("high") < 1e-6
    assert round(wilson(10, 10).low or 0, 2) == 0.72
