"""Curation: pure rules, checked one by one."""

import pytest

from feedback.curation import Rules, refusal, split_of, text_of, to_prompt
from feedback.records import Message
from tests.builders import make_interaction, make_messages

RULES = Rules()


def test_a_good_prompt_is_accepted() -> None:
    assert refusal(make_interaction(), RULES) is None


def test_without_consent_nothing_is_kept() -> None:
    assert refusal(make_interaction(consent=False), RULES) == "no consent"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "too short"),
        ("ab", "too short"),
        ("   \n\t  a ", "too short"),
        ("abc", None),
        ("x" * 4000, None),
        ("x" * 4001, "too long"),
        ("\x00\x01\x02\x03\x04", "not text"),
        ("Was heißt 🦊?", None),
    ],
)
def test_length_and_kind_of_text_decide(text: str, reason: str | None) -> None:
    assert refusal(make_interaction(text), RULES) == reason


def test_a_conversation_without_a_user_is_no_prompt() -> None:
    interaction = make_interaction(messages=[Message(role="system", content="Be brief.")])
    assert refusal(interaction, RULES) == "no user message"


def test_all_prompts_of_one_customer_fall_into_one_split_for_ever() -> None:
    assert {split_of("acme", RULES) for _ in range(100)} == {split_of("acme", RULES)}
    assert split_of("acme", RULES) == "train"
    assert split_of("customer-3", RULES) == split_of("customer-3", Rules(min_chars=9))


def test_splits_have_the_shares_that_the_rules_ask_for() -> None:
    found = [split_of(f"customer-{number}", RULES) for number in range(10_000)]
    assert 900 < found.count("test") < 1100
    assert 900 < found.count("valid") < 1100


def test_a_customer_of_the_test_split_stays_there_when_the_valid_share_grows() -> None:
    wider = Rules(valid_percent=40)
    for number in range(500):
        if split_of(f"customer-{number}", RULES) == "test":
            assert split_of(f"customer-{number}", wider) == "test"


@pytest.mark.parametrize("other", ["name a  FRUIT.", "Name a fruit.\n", "  Name\u00a0a fruit.", "Ｎame a fruit."])
def test_case_spaces_and_width_make_no_new_prompt(other: str) -> None:
    assert text_of(make_messages("Name a fruit.")) == text_of(make_messages(other)) == "user: name a fruit."


def test_no_normalised_text_holds_what_ends_one_in_an_index() -> None:
    assert text_of(make_messages("a\0b")) == "user: a b"


def test_who_said_it_matters() -> None:
    assert text_of([Message(role="user", content="Hi")]) != text_of([Message(role="assistant", content="Hi")])


def test_a_prompt_takes_its_id_customer_and_split_from_its_interaction() -> None:
    interaction = make_interaction(id="int_42", customer="acme")
    prompt = to_prompt(interaction, RULES)
    assert prompt.id == "pro_42"
    assert prompt.interaction_id == "int_42"
    assert (prompt.customer, prompt.messages) == ("acme", interaction.messages)
    assert prompt.split == split_of("acme", RULES)
