"""The baselines find what is there to be found, and the intervals hold the truth about as often as they say."""

import random

import pytest

from benchmarks.preference_baselines import accuracies, bag_of_words, longer
from benchmarks.preference_sets import Row

WORDS = ["the", "a", "red", "fox", "lives", "in", "green", "wood", "and", "eats", "many", "berries"]


def rows(number: int, good: str, seed: int, *, start: int = 0) -> list[Row]:
    """Pairs of which the text with the word ``good`` won; length says nothing."""
    generator = random.Random(seed)
    found = []
    for n in range(start, start + number):
        texts = [" ".join(generator.choices(WORDS, k=8)) for _ in range(2)]
        winner = generator.randrange(2)
        texts[winner] += f" {good}"
        texts[1 - winner] += " dull"
        said = [{"a": 0, "b": 1, "winner": "ab"[winner], "annotator": None}]
        found.append(Row(set="s", id=f"s/{n}", key=f"k{n}", messages=[], texts=texts, comparisons=said))
    return found


def test_the_bag_finds_the_word_and_invents_nothing() -> None:
    train, test = rows(60, "kind", 1), rows(60, "kind", 2, start=60)
    scorers = {"bag": bag_of_words(train, test), "longer": longer(test)}
    found = accuracies(test, scorers, resamples=200, seed=0)
    assert found["bag"].value == 1.0
    strangers = rows(200, "new", 3, start=200)
    unknown = accuracies(strangers, {"bag": bag_of_words(rows(60, "word", 4), strangers)}, resamples=200, seed=0)
    assert unknown["bag"].value > 0.9, "the losers' word is known all the same"


def test_with_too_few_texts_every_completion_scores_the_same() -> None:
    test = rows(4, "kind", 5)
    found = bag_of_words(rows(1, "kind", 6), test)
    assert {score for scores in found.values() for score in scores} == {0.0}
    assert accuracies(test, {"bag": found}, resamples=50, seed=0)["bag"].value == 0.5


def test_longer_counts_characters() -> None:
    row = Row(set="s", id="1", key="k", messages=[], texts=["ab", "abcd", ""], comparisons=[])
    assert longer([row]) == {"1": [2.0, 4.0, 0.0]}


def test_accuracy_counts_pairs_and_intervals_count_prompts() -> None:
    """Twenty rows of one prompt are one prompt: the interval of one key is a point."""
    one = [Row(**{**vars(row), "key": "same"}) for row in rows(20, "kind", 7)]
    scores = {row.id: [1.0, 0.0] for row in one}
    found = accuracies(one, {"first": scores, "longer": longer(one)}, resamples=100, seed=0)
    share = sum(row.pairs == [(0, 1)] for row in one) / 20
    assert found["first"].value == found["first"].low == found["first"].high == share
    gap = found["first-longer"]
    assert gap.value == pytest.approx(found["first"].value - found["longer"].value)


def test_intervals_hold_the_truth() -> None:
    held = 0
    for seed in range(40):
        generator = random.Random(seed)
        some = rows(80, "kind", seed)
        scores = {row.id: ([1.0, 0.0] if generator.random() < 0.7 else [0.0, 1.0]) for row in some}
        turned = {row.id: scores[row.id] if row.pairs == [(0, 1)] else scores[row.id][::-1] for row in some}
        found = accuracies(some, {"noisy": turned}, resamples=300, seed=seed)["noisy"]
        held += found.low <= 0.7 <= found.high
    assert 34 <= held <= 40
