"""The pool: each text once, no customer above its cap, however many curators write at once."""

import threading

import pytest

from feedback import prompts
from feedback.client import Ledger
from feedback.collection import wanting
from feedback.curation import text_of
from feedback.errors import NotFound
from feedback.records import Prompt
from tests.builders import make_prompt


def keep(ledger: Ledger, prompt: Prompt, most: int = 200) -> str:
    return prompts.keep(ledger, prompt, text_of(prompt.messages), most)


def test_a_kept_prompt_can_be_read_back(ledger: Ledger) -> None:
    made = make_prompt()
    assert keep(ledger, made) == "kept"
    assert prompts.get(ledger, made.id) == made
    assert prompts.count(ledger) == 1


def test_an_unknown_prompt_is_not_found_by_name(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="pro_none"):
        prompts.get(ledger, "pro_none")


def test_the_same_text_is_kept_once_even_for_another_customer(ledger: Ledger) -> None:
    assert keep(ledger, make_prompt()) == "kept"
    assert keep(ledger, make_prompt("name a FRUIT. ", customer="other")) == "duplicate"
    assert prompts.dropped(ledger) == {"duplicate": 1}


def test_keeping_the_same_prompt_again_changes_nothing(ledger: Ledger) -> None:
    made = make_prompt()
    assert [keep(ledger, made, most=1) for _ in range(3)] == ["kept"] * 3
    assert prompts.count(ledger) == 1
    assert prompts.dropped(ledger) == {}
    assert keep(ledger, make_prompt("Another?"), most=1) == "customer cap"


def test_a_customer_at_the_cap_adds_nothing_and_others_do(ledger: Ledger) -> None:
    found = [keep(ledger, make_prompt(f"Question {number}?"), most=3) for number in range(5)]
    assert found == ["kept"] * 3 + ["customer cap"] * 2
    assert keep(ledger, make_prompt("Question 9?", customer="other"), most=3) == "kept"
    assert prompts.dropped(ledger) == {"customer cap": 2}


def test_a_prompt_refused_by_the_cap_does_not_block_its_text_for_others(ledger: Ledger) -> None:
    assert keep(ledger, make_prompt("Question?"), most=0) == "customer cap"
    assert keep(ledger, make_prompt("Question?", customer="other")) == "kept"


def test_twenty_curators_keep_each_text_once_and_never_exceed_the_cap(ledger: Ledger) -> None:
    start = threading.Barrier(20)

    def work() -> None:
        start.wait()
        for number in range(15):
            keep(ledger, make_prompt(f"Question {number}?", customer=f"customer-{number % 2}"), most=5)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool = prompts.all_prompts(ledger)
    assert len(pool) == 10
    assert len({text_of(each.messages) for each in pool}) == 10
    assert sum(prompts.dropped(ledger).values()) == 20 * 15 - 10


def test_kept_prompts_wait_to_be_considered_except_those_of_the_test_split(ledger: Ledger) -> None:
    shown = make_prompt("Shown?")
    valid = make_prompt("Valid?", split="valid")
    keep(ledger, shown)
    keep(ledger, valid)
    keep(ledger, make_prompt("Hidden?", split="test"))
    for what in ("comparison", "demonstration"):
        assert {each.id for each in wanting(ledger, what, 10)} == {shown.id, valid.id}


def test_what_a_rule_refused_is_counted_by_reason(ledger: Ledger) -> None:
    for reason in ("too short", "too short", "no consent"):
        prompts.drop(ledger, reason)
    assert prompts.dropped(ledger) == {"too short": 2, "no consent": 1}


def test_the_pool_is_read_oldest_first(ledger: Ledger) -> None:
    made = [make_prompt(f"Question {number}?") for number in range(5)]
    for each in reversed(made):
        keep(ledger, each)
    assert prompts.all_prompts(ledger) == made
