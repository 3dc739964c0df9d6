"""Many prompts at once: the verdicts are those of the ledger."""

import random

import pytest

from feedback import prompts
from feedback.client import Ledger
from feedback.curation import Rules, split_of, text_of
from feedback.curation.batch import judge
from tests.builders import make_messages, make_prompt

RULES = Rules(most_per_customer=3)


def test_the_first_of_a_kind_is_kept_and_a_cap_counts_only_what_was_kept() -> None:
    asked = [
        ("a", "One?"),
        ("a", "ONE?"),
        ("b", "One?"),
        ("a", "Two?"),
        ("a", "Three?"),
        ("a", "Four?"),
        ("b", "Four?"),
    ]
    found = list(judge([(customer, make_messages(text)) for customer, text in asked], RULES))
    assert [each.outcome for each in found] == [
        "kept",
        "duplicate",
        "duplicate",
        "kept",
        "kept",
        "customer cap",
        "kept",
    ]
    assert [each.split for each in found] == [split_of(customer, RULES) for customer, _ in asked]


def test_nothing_gives_nothing() -> None:
    assert list(judge([], RULES)) == []


@pytest.mark.redis
def test_memory_and_ledger_give_the_same_verdicts(ledger: Ledger) -> None:
    rng = random.Random(3)
    stems = ["".join(rng.choices("abcde ", k=240)) for _ in range(5)]
    asked = []
    for _ in range(300):
        shared = rng.choice([0, 75, 95, 180, 200])
        tail = "".join(rng.choices("abc ", k=rng.randint(1, 60)))
        asked.append((f"customer {rng.randrange(40)}", make_messages(rng.choice(stems)[:shared] + tail)))
    found = [each.outcome for each in judge(asked, RULES)]
    stored = [
        prompts.keep(ledger, make_prompt(customer=customer, messages=messages), text_of(messages), 3)
        for customer, messages in asked
    ]
    assert found == stored
    assert {"kept", "duplicate", "customer cap"} == set(found)
