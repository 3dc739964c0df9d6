"""The sequential test: it follows from two honest numbers, spares the honest and finds who works against them."""

import numpy as np
import pytest

from feedback.quality import detection
from feedback.quality.detection import Honest

HONEST = Honest(slope=0.4, blunders=0.04)


def draw(labels: int, rng: np.random.Generator, reversed_share: float = 0.0) -> list[float]:
    """Return ``d`` of labels by somebody who is honest but for a share that they reverse."""
    sizes = rng.exponential(6.0, size=labels)
    signs = np.where(rng.random(labels) < HONEST.ways(sizes), 1, -1)
    signs = np.where(rng.random(labels) < reversed_share, -signs, signs)
    return list(sizes * signs)


def test_scores_are_the_opinion_and_places_stand_in_for_them() -> None:
    assert detection.opinion([[1], [0], [2]], [4, 7, 1], 3) == [4, 7, 1]
    assert detection.opinion([[1], [0], [2]], [], 3) == [4, 7, 1]
    assert detection.opinion([[0, 1, 2]], [], 3) == [7, 7, 7]
    assert detection.opinion([[0], [1]], [], 3) is None


def test_a_ranking_follows_others_as_far_as_they_see_a_difference() -> None:
    others = [[7.0, 4.0, 1.0], [5.0, 4.0, 3.0]]
    assert detection.agreement([[0], [1], [2]], others) == pytest.approx(2 + 2 + 4)
    assert detection.agreement([[2], [1], [0]], others) == pytest.approx(-8)
    assert detection.agreement([[0, 1], [2]], others) == pytest.approx(4 + 2)
    assert detection.agreement([[0], [2]], others) == pytest.approx(4)
    assert detection.agreement([[0, 1, 2]], others) == 0


def test_the_fit_finds_the_numbers_that_the_labels_were_drawn_with() -> None:
    found = detection.fit(draw(20_000, np.random.default_rng(1)))
    assert found is not None
    assert found.slope == pytest.approx(HONEST.slope, rel=0.15)
    assert found.blunders == pytest.approx(HONEST.blunders, abs=0.02)
    assert detection.fit([1.0] * (detection.ENOUGH - 1)) is None


def test_the_odds_are_those_of_one_label_by_hand() -> None:
    this_way = float(HONEST.ways(np.array([-3.0]))[0])
    expected = np.mean([1 - r + r * (1 - this_way) / this_way for r in detection.SHARES])
    assert detection.evidence([-3.0], HONEST) == pytest.approx([expected])
    assert detection.evidence([3.0], HONEST)[0] < 1 < detection.evidence([-3.0], HONEST)[0]
    assert detection.evidence([0.0, 0.0], HONEST) == pytest.approx([1, 1])


def test_under_honesty_the_odds_are_a_fair_game() -> None:
    """Before each label they are expected to stay; so at most 5 % of honest labelers ever see odds of 20 (Ville)."""
    for size in (0.5, 3.0, 20.0):
        ways = HONEST.ways(np.array([size, -size]))
        odds = [detection.evidence([each], HONEST)[0] for each in (size, -size)]
        assert ways @ odds == pytest.approx(1)
    rng = np.random.default_rng(2)
    odds = detection.evidence(np.array([draw(100, rng) for _ in range(2000)]), HONEST)
    assert (odds.max(axis=1) >= 20).mean() <= 0.05


def test_the_bar_lets_all_but_a_few_honest_labelers_pass() -> None:
    rng = np.random.default_rng(3)
    limit = detection.bar(draw(3000, rng), HONEST)
    highest = np.array([detection.evidence(draw(detection.WINDOW, rng), HONEST).max() for _ in range(600)])
    assert (highest >= limit).mean() == pytest.approx(detection.FALSE_FLAGS, abs=0.03)
    assert 1 < limit < 20


def test_who_reverses_is_flagged_and_the_others_are_not() -> None:
    rng = np.random.default_rng(4)
    labels = {f"honest-{number}": draw(50, rng) for number in range(9)}
    labels["culprit"] = draw(50, rng, reversed_share=0.4)
    found = detection.judge(labels)
    assert [name for name, verdict in found.items() if verdict.after is not None] == ["culprit"]
    culprit = found["culprit"]
    assert culprit.odds >= culprit.bar
    assert culprit.after is not None
    assert culprit.after < 50


def test_only_the_latest_labels_count() -> None:
    rng = np.random.default_rng(5)
    labels = {f"honest-{number}": draw(50, rng) for number in range(9)}
    labels["reformed"] = [*draw(50, rng, reversed_share=1.0), *draw(50, rng)]
    assert detection.judge(labels)["reformed"].after is None


def test_few_labels_say_nothing() -> None:
    assert detection.judge({"one": [1.0, 2.0], "two": [1.0]}) == {}
    rng = np.random.default_rng(6)
    assert "idle" not in detection.judge({"one": draw(200, rng), "idle": []})
