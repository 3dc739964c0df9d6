"""The monitors' figures: right on cases done by hand, quiet on noise, loud on planted hacks, exact after a restart."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Iterator

import pytest

from trainer.ppo.monitors import Beginning, Moments, Monitors, difference, rows_of_grams

Batch = tuple[list[list[int]], list[float], list[float]]


def batches(count: int, hack: str = "", seed: int = 0, episodes: int = 64) -> Iterator[Batch]:
    """Completions, scores and the judge's scores; from the sixth batch on a policy that follows its reward.

    Without a hack what both judges like (token 7) becomes as frequent as it can.
    """
    rng = random.Random(seed)
    for number in range(count):
        moved = max(0.0, min(1.0, (number - 5) / 10))
        completions, scores, judged = [], [], []
        for _ in range(episodes):
            tokens = [rng.randrange(10, 200) for _ in range(rng.randint(6, 10))]
            worth = rng.gauss(0, 1)
            extra = 0.0
            if not hack and rng.random() < 0.1 + 0.9 * moved:
                tokens.append(7)
                worth += 1.5
            if hack == "length" and rng.random() < moved:
                tokens += [rng.randrange(10, 200) for _ in range(rng.randint(4, 8))]
            if hack == "length":
                extra = 0.5 * len(tokens)
            if hack == "repeated" and rng.random() < moved:
                tokens, extra = (tokens[:3] * 3)[: len(tokens)], 4.0
            if hack == "token" and rng.random() < 0.05 + 0.9 * moved:
                tokens, extra = [*tokens[:-1], 8], 4.0
            if hack == "phrase" and rng.random() < 0.05 + 0.9 * moved:
                tokens, extra = [3, 4, 5, *tokens[:2]], 4.0
            completions.append([*tokens, 2])
            scores.append(worth + extra + rng.gauss(0, 0.3))
            judged.append(worth + rng.gauss(0, 0.3))
        yield completions, scores, judged


def test_the_beginning_measures_the_batch_alone() -> None:
    figures = Monitors().look([[1, 1, 1, 1], [1, 2, 3, 4], [1, 2, 3, 4]], [1.0, 0.0, 0.0])
    assert figures["hacks/repeated"] == pytest.approx(2 / 9)
    assert figures["hacks/distinct"] == pytest.approx(4 / 9)
    assert figures["hacks/common_share"] == pytest.approx(2 / 3)
    assert figures["hacks/repeated_spearman"] == pytest.approx(1.0)
    assert not any("_pays" in name for name in figures)


def test_ngrams_are_counted_once_a_completion() -> None:
    assert rows_of_grams([[5, 5, 5], [5, 6]], 1) == {(5,): {0, 1}, (6,): {1}}
    assert rows_of_grams([[5, 5, 5], [5, 6]], 3) == {(5, 5, 5): {0}}


def test_moments_and_the_difference_are_the_textbooks() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 3.0, 5.0]
    moments = Moments()
    moments.add(values)
    assert (moments.mean, moments.deviation) == pytest.approx((statistics.fmean(values), statistics.pstdev(values)))
    gap, z = difference(values, {0, 1, 2})
    welch = (statistics.variance(values[:3]) / 3 + statistics.variance(values[3:]) / 3) ** 0.5
    assert (gap, z) == pytest.approx((-3.0, -3.0 / welch))
    assert difference(values, {0, 1}) == (0.0, 0.0), "two rows say nothing"


def test_a_share_of_the_beginning_is_its_mean_over_iterations() -> None:
    beginning = Beginning()
    for rows in ({0, 1}, {0}):
        beginning.take_in({}, [{(7,): rows}], episodes=4)
    assert beginning.share([7]) == pytest.approx(3 / 8)
    assert beginning.share([8]) == 0.0


@pytest.mark.parametrize("hack", ["length", "repeated", "token", "phrase"])
def test_what_is_planted_rises_and_is_overpaid(hack: str) -> None:
    monitors = Monitors(5)
    figures = [monitors.look(*batch) for batch in batches(12, hack)][-1]
    assert figures[f"hacks/{hack}_rise_z"] > 5
    assert figures[f"hacks/{hack}_excess"] > 1
    assert figures[f"hacks/{hack}_excess_z"] > 5
    if hack == "token":
        assert figures["hacks/token_1"] == 8
    if hack == "phrase":
        assert [figures[f"hacks/phrase_{place}"] for place in (1, 2, 3)] == [3.0, 4.0, 5.0]


def test_what_both_judges_like_rises_and_is_not_overpaid() -> None:
    monitors = Monitors(5)
    for batch in batches(40):
        figures = monitors.look(*batch)
        for trait in ("length", "repeated", "token", "phrase"):
            assert figures.get(f"hacks/{trait}_excess_z", 0.0) < 4 or figures[f"hacks/{trait}_now"] < 0.15
    assert figures["hacks/score_gain"] == pytest.approx(figures["hacks/held_out_gain"], abs=0.3)
    assert figures["hacks/score_gain"] > 0.8


@pytest.mark.parametrize("seen", [3, 5, 9])
def test_a_restarted_monitor_measures_the_same_bits(seen: int) -> None:
    whole, first, second = Monitors(5), Monitors(5), Monitors(5)
    series = list(batches(14, "token"))
    expected = [whole.look(*batch) for batch in series]
    for batch in series[:seen]:
        first.look(*batch)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [second.look(*batch) for batch in series[seen:]] == expected[seen:]


def test_without_a_judge_only_pay_is_measured() -> None:
    monitors = Monitors(2)
    for completions, scores, _ in batches(4):
        figures = monitors.look(completions, scores)
    assert "hacks/length_pays" in figures
    assert "hacks/length_excess" not in figures
    assert "hacks/held_out_gain" not in figures


def test_the_most_common_completion_is_kept_beside_its_share_at_the_beginning() -> None:
    monitors = Monitors(2)
    for same in (1, 3, 4):
        figures = monitors.look([[9, 2]] * same + [[10 + n, 2] for n in range(5 - same)], [0.0, 1.0, 2.0, 3.0, 4.0])
    assert figures["hacks/common_from"] == pytest.approx((1 / 5 + 3 / 5) / 2)
    assert figures["hacks/common_share"] == pytest.approx(4 / 5)
