"""Curation: pure rules, checked one by one."""

import pytest

from feedback.curation import Rules, decide, decided_by_pool, prompt_id, refusal, rules_of, split_of, text_of, to_prompt
from feedback.records import Message
from feedback.settings import Settings
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


@pytest.mark.parametrize(
    ("text", "languages", "reason"),
    [
        ("Wie heißt die Hauptstadt von Frankreich?", [], None),
        ("Wie heißt die Hauptstadt von Frankreich?", ["en", "de"], None),
        ("Wie heißt die Hauptstadt von Frankreich?", ["en"], "language"),
        ("What would you call the capital of France?", ["en"], None),
        ("okay", ["en"], None),
    ],
)
def test_only_a_language_that_is_known_and_unwanted_is_refused(
    text: str, languages: list[str], reason: str | None
) -> None:
    assert refusal(make_interaction(text), Rules(languages=languages)) == reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ab", "2 characters; at least 3"),
        ("x" * 4001, "4001 characters; at most 4000"),
        ("\x00\x01\x02\x03\x04", "cannot be printed"),
        ("Name a fruit.", "may be kept"),
    ],
)
def test_every_decision_is_explained(text: str, words: str) -> None:
    decision = decide(make_messages(text), True, RULES)
    assert words in decision.explanation
    assert decision.accepted == (text == "Name a fruit.")


@pytest.mark.parametrize(
    ("outcome", "words"), [("duplicate", "same words"), ("customer cap", "200 prompts"), ("kept", "It is kept")]
)
def test_what_the_pool_says_is_explained_too(outcome: str, words: str) -> None:
    decision = decided_by_pool(outcome, RULES)
    assert words in decision.explanation
    assert decision.reason == ("" if outcome == "kept" else outcome)


def test_the_rules_are_those_of_the_settings() -> None:
    settings = Settings(prompts_per_customer=7, prompt_max_chars=9, valid_percent=20, prompt_languages=["de"])
    assert rules_of(settings) == Rules(most_per_customer=7, max_chars=9, valid_percent=20, languages=["de"])
    assert rules_of(Settings()) == RULES


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
    assert prompt.id == prompt_id("int_42")
    assert (prompt.key_id, prompt.use_case, prompt.masked) == ("key_1", "other", {})


def test_a_prompt_is_masked_and_tagged() -> None:
    interaction = make_interaction("Could you write a friendly letter to ada@lovelace.org, about her 36 machines?")
    prompt = to_prompt(interaction, RULES)
    assert prompt.messages == make_messages("Could you write a friendly letter to <EMAIL_1>, about her 36 machines?")
    assert (prompt.masked, prompt.use_case, prompt.language) == ({"email": 1}, "generation", "en")
