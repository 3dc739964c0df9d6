"""Made-up prompts are what they say they are: planted cases and nothing else."""

from collections import Counter

import pytest

from benchmarks.planted import CAPPED_PROMPTS, Made, make, personal
from feedback.curation import text_of
from feedback.curation.prefixes import PrefixIndex


@pytest.fixture(scope="module")
def made() -> Made:
    return make(20_000)


def test_the_counts_add_up(made: Made) -> None:
    assert len(made.asked) == sum(made.outcomes.values()) == 20_000
    assert made.planted == {"exact": 1000, "prefix": 600, "near": 400, "cap": 100}
    assert made.outcomes == {"kept": 20_000 - 1700, "duplicate": 1600, "customer cap": 100}


def test_what_was_planted_is_all_that_repeats(made: Made) -> None:
    index, repeated = PrefixIndex(), 0
    for each in made.asked:
        text = text_of(each.messages)
        if index.repeats(text):
            repeated += 1
        else:
            index.add(text)
    assert repeated == made.planted["exact"] + made.planted["prefix"]


def test_only_the_planted_customers_are_above_the_cap(made: Made) -> None:
    counts = Counter(each.customer for each in made.asked)
    assert {name: count for name, count in counts.items() if count > 200} == {
        "capped 0": CAPPED_PROMPTS,
        "capped 1": CAPPED_PROMPTS,
    }


def test_the_same_seed_makes_the_same() -> None:
    assert make(2000, seed=5) == make(2000, seed=5)
    assert make(2000, seed=5) != make(2000, seed=6)


def test_personal_data_is_planted_in_the_share_asked_for() -> None:
    texts = personal(1000, 0.2)
    assert 150 < sum(text != expected for text, expected in texts) < 250
    assert all(text != expected for text, expected in personal(50, 1.0))
