"""Spellings of control tokens: none is left, and other text is left alone."""

import re

import pytest

from feedback.inert import INSTEAD, JOINER, USUAL, pattern, quiet


@pytest.mark.parametrize(
    "text", ["<|system|>", "<|im_end|>", "<s>", "</s>", "<eos>", "<start_of_turn>", "[/INST]", "<<SYS>>", "<｜User｜>"]
)
def test_usual_control_tokens_are_broken_up_and_still_read_the_same(text: str) -> None:
    quieted = quiet(f"a {text} b")
    assert not USUAL.search(quieted)
    assert quieted.replace(JOINER, "") == f"a {text} b"


@pytest.mark.parametrize("text", ["a < b > c", "<p>HTML</p>", "[1] x", "a | b", "<|>", "INST", "<EMAIL_1>"])
def test_other_text_is_left_alone(text: str) -> None:
    assert quiet(text) == text


def test_what_is_left_of_one_spelling_is_not_another() -> None:
    controls = pattern(frozenset({"ab", "b\u2060c"}))
    assert controls is not None
    assert not controls.search(quiet("abc", controls))


def test_given_spellings_are_matched_longest_first_and_none_gives_no_pattern() -> None:
    controls = pattern(frozenset({"<e>", "<e>x", "\x02"}))
    assert controls is not None
    assert quiet("<e>x \x02", controls) == f"<{JOINER}e>x {INSTEAD}"
    assert pattern(frozenset({""})) is None
    assert isinstance(USUAL, re.Pattern)
