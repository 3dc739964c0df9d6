"""Collection: what labelers are asked for, and which prompts wait for it."""

import pytest

from feedback import collection, prompts
from feedback.client import Ledger
from feedback.curation import text_of
from feedback.errors import ConfigError
from tests.builders import NOON, make_prompt


def keep(ledger: Ledger, text: str, minute: int = 0) -> str:
    made = make_prompt(text, created_at=NOON.replace(minute=minute))
    prompts.keep(ledger, made, text_of(made.messages), 200)
    return made.id


def test_both_kinds_are_collected_unless_an_operator_says_otherwise(ledger: Ledger) -> None:
    assert collection.collected(ledger) == "both"
    assert collection.wants(ledger, "comparison")
    assert collection.wants(ledger, "demonstration")


def test_an_operator_may_ask_for_one_kind_only(ledger: Ledger) -> None:
    collection.collect(ledger, "demonstrations")
    assert collection.wants(ledger, "demonstration")
    assert not collection.wants(ledger, "comparison")


def test_an_unknown_kind_is_refused_with_the_ones_that_exist(ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="demonstrations, comparisons, both"):
        collection.collect(ledger, "poems")


def test_the_longest_waiting_prompts_come_first(ledger: Ledger) -> None:
    late, early = keep(ledger, "Late?", 30), keep(ledger, "Early?", 10)
    assert [each.id for each in collection.wanting(ledger, "comparison", 10)] == [early, late]
    assert [each.id for each in collection.wanting(ledger, "comparison", 1)] == [early]
    assert collection.wanting(ledger, "comparison", 0) == []


def test_a_prompt_waits_for_each_kind_by_itself(ledger: Ledger) -> None:
    id = keep(ledger, "Which?")
    collection.considered(ledger, "comparison", [id])
    assert collection.backlog(ledger, "comparison") == 0
    assert collection.backlog(ledger, "demonstration") == 1


def test_considering_nothing_is_harmless(ledger: Ledger) -> None:
    collection.considered(ledger, "comparison", [])
    assert collection.backlog(ledger, "comparison") == 0
