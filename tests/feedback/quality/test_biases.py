"""Biases: each is seen where it is planted, and not where it is not."""

import random

import pytest

from feedback.quality import biases
from feedback.quality.biases import Shown
from feedback.quality.figures import Estimate
from tests.builders import make_comparison, make_label

COMPARISON = make_comparison()
USUAL = Estimate(0.5, 0.48, 0.52, 400)


def shown(
    ranking: list[list[int]], order: list[int] | None = None, words: list[int] | None = None, **label: object
) -> Shown:
    made = make_label(COMPARISON, ranking=ranking, display_order=order or [], **label)
    return Shown(made, words or [10, 10, 10, 10])


def honest(count: int, seed: int = 0) -> list[Shown]:
    """Return labels whose ranking has nothing to do with the places."""
    rng = random.Random(seed)
    return [
        shown([[index] for index in rng.sample(range(4), 4)], rng.sample(range(4), 4), rng.sample(range(5, 50), 4))
        for _ in range(count)
    ]


def first_is_best(count: int) -> list[Shown]:
    orders = [random.Random(seed).sample(range(4), 4) for seed in range(count)]
    return [shown([[index] for index in order], order) for order in orders]


def test_what_stands_first_wins_as_often_as_it_does() -> None:
    half = shown([[2], [0, 1], [3]], order=[2, 3, 0, 1])
    assert biases.first_wins([half]).value == pytest.approx(3 / 5)
    assert biases.first_wins(first_is_best(5)).value == 1
    assert biases.first_wins(honest(400)).value == pytest.approx(0.5, abs=0.04)
    assert biases.first_wins([shown([[0], [1], [2], [3]])]).value is None


def test_places_win_in_their_order_where_the_page_decides() -> None:
    assert [each.value for each in biases.slot_wins(first_is_best(5))] == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert [each.value for each in biases.slot_wins(honest(400))] == pytest.approx([0.5] * 4, abs=0.06)


def test_the_test_for_position_bias_sees_both_ends_and_spares_chance() -> None:
    assert biases.position_bias(first_is_best(20)) < 1e-6
    assert biases.position_bias(honest(200)) > 0.01
    turned = [shown(each.label.ranking[::-1], each.label.display_order) for each in first_is_best(60)]
    assert biases.position_bias(turned) < biases.UNLIKELY
    assert biases.position_bias([]) == 1


def test_longer_completions_win_as_often_as_they_do() -> None:
    assert biases.longer_wins([shown([[0], [1], [2], [3]], words=[9, 5, 5, 7])]).value == pytest.approx(3 / 5)
    assert biases.longer_wins([shown([[0], [1], [2], [3]])]).value is None


def test_pace_is_a_median_of_what_was_counted() -> None:
    assert biases.s_per_word([shown([[0]], active_s=s) for s in (0.0, 4.0, 8.0, 80.0)]) == pytest.approx(8 / 40)
    assert biases.s_per_word([shown([[0]])]) is None


def test_a_ranking_by_place_that_never_changes_is_seen() -> None:
    assert biases.commonest(first_is_best(8)) == 1
    assert biases.commonest(honest(200)) < 0.15
    assert biases.commonest([shown([[0, 1, 2, 3]], [0, 1, 2, 3])]) == 0


def test_a_verdict_decides_no_pair() -> None:
    assert list(biases.decided(make_label(COMPARISON, outcome="all_bad"))) == []
    assert list(biases.decided(make_label(COMPARISON, ranking=[[1], [0, 2]]))) == [(1, 0), (1, 2)]


def test_wilsons_interval() -> None:
    found = biases.wilson(19, 30)
    assert (found.value, found.n) == (pytest.approx(19 / 30), 30)
    assert (found.low, found.high) == (pytest.approx(0.455, abs=0.001), pytest.approx(0.781, abs=0.001))
    assert biases.wilson(0, 0).value is None


def test_flags_are_counted_per_pair_of_labelers_and_completion() -> None:
    one = make_label(COMPARISON, flags={"hallucination": [0, 1]})
    other = make_label(COMPARISON, flags={"hallucination": [1]}, labeler="kim")
    third = make_label(COMPARISON, labeler="max")
    found = biases.flag_use({"cmp_1": [one, other, third]}, {"cmp_1": 4})
    assert list(found) == ["hallucination"]
    assert (found["hallucination"].both, found["hallucination"].one, found["hallucination"].none) == (1, 4, 7)


def test_habits_are_told_in_words_and_only_of_enough_labels() -> None:
    rushed = [shown(each.label.ranking, each.label.display_order, active_s=1.0) for each in first_is_best(30)]
    found = biases.habits(rushed, USUAL)
    assert [each.split()[0] for each in found] == ["faster", "follows", "100%"]
    assert biases.habits(rushed[: biases.ENOUGH - 1], USUAL) == []
    assert biases.habits(honest(100), USUAL) == []


def test_a_preference_for_the_longer_is_one_beyond_what_all_have() -> None:
    words = [40, 30, 20, 10]
    longest = [shown([[0], [1], [2], [3]], random.Random(seed).sample(range(4), 4), words) for seed in range(30)]
    assert biases.habits(longest, USUAL) == ["prefers the longer: it wins 100% of pairs, 50% with everybody"]
    assert biases.habits(longest, Estimate(0.9, 0.88, 0.92, 400)) == []
