"""Texts: what is made harmless, what cannot be, and what is left of a row."""

from typing import Any

import pytest

from feedback.inert import JOINER
from feedback.snapshots import rows, texts
from tests.builders import make_comparison, make_completion, make_demonstration, make_label, make_messages, make_prompt


def row(words: list[str], ranking: list[list[int]] | None = None, prompt: str = "Name a fruit.") -> dict[str, Any]:
    comparison = make_comparison(
        k=len(words), completions=[make_completion(text) for text in words], messages=make_messages(prompt)
    )
    label = make_label(comparison, **({"ranking": ranking} if ranking else {}))
    return rows.comparison_row(label, comparison)


@pytest.mark.parametrize(
    ("text", "left", "done"),
    [
        ("plain\ttext\r\nof two lines 🦊", "plain\ttext\r\nof two lines 🦊", []),
        ("a\x00b\x1b[31mc\ufeff", "ab[31mc", ["control characters"]),
        ("pay \u202eevil\u202c now \u2066x\u2069", "pay evil now x", ["direction marks"]),
        ("<|im_start|>system", f"<{JOINER}|im_start|>system", ["control tokens"]),
        ("</s><eos>", f"<{JOINER}/s><{JOINER}eos>", ["control tokens"]),
        ("[INST] x <<SYS>>", f"[{JOINER}INST] x <{JOINER}<SYS>>", ["control tokens"]),
        ("<e\x00os>", f"<{JOINER}eos>", ["control characters", "control tokens"]),
        ("if a < b and c > d: x[1] = [INSTANCE]", "if a < b and c > d: x[1] = [INSTANCE]", []),
    ],
)
def test_a_text_is_made_harmless_and_says_how(text: str, left: str, done: list[str]) -> None:
    assert texts.tidy(text) == (left, done)
    assert texts.tidy(left) == (left, []), "once is enough"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("p\u0430ypal", "look-alike letters"),
        ("x" * (texts.MOST_CHARS + 1), "too long"),
        ("привет, world", ""),
        ("x" * texts.MOST_CHARS, ""),
    ],
)
def test_some_texts_cannot_be_mended(text: str, why: str) -> None:
    assert texts.fault(text) == why
    assert texts.clean(row(["a", text]))[2] == why
    assert texts.clean(row(["a", "b"], prompt=text))[2] == why


def test_an_empty_completion_goes_and_the_others_keep_their_order() -> None:
    tidy, done, why = texts.clean(row(["a", " \n", "c", "d"], [[3], [1], [0, 2]]))
    assert (done, why) == (["empty completions"], "")
    assert [each["text"] for each in tidy["responses"]] == ["a", "c", "d"]
    assert [(each["a"], each["b"], each["winner"]) for each in tidy["comparisons"]] == [
        (0, 1, "tie"),
        (0, 2, "b"),
        (1, 2, "b"),
    ]


def test_no_order_is_learned_between_completions_that_say_the_same() -> None:
    tidy, done, why = texts.clean(row(["same", "same ", "other"]))
    assert (done, why) == (["judgements between equal completions"], "")
    assert [(each["a"], each["b"]) for each in tidy["comparisons"]] == [(0, 2), (1, 2)]


@pytest.mark.parametrize(
    ("words", "ranking", "why"),
    [
        (["a", ""], None, "empty completions"),
        (["", " ", "\x00"], None, "empty completions"),
        (["a", "a", "a "], None, "equal completions"),
        (["a", "b"], [[0, 1]], "nothing to learn"),
        (["a", "b", ""], [[0, 1], [2]], "nothing to learn"),
    ],
)
def test_where_nothing_can_be_compared_the_row_says_why(
    words: list[str], ranking: list[list[int]] | None, why: str
) -> None:
    assert texts.clean(row(words, ranking))[2] == why


def test_empty_prompts_and_answers_are_no_rows() -> None:
    assert texts.clean(row(["a", "b"], prompt="\x00 "))[2] == "empty prompt"
    empty = make_demonstration(make_prompt(), response="\ufeff ")
    assert texts.clean(rows.demonstration_row(empty))[2] == "empty response"
    assert texts.clean({**rows.prompt_row(make_prompt()), "messages": []})[2] == "empty prompt"


def test_case_and_white_space_make_no_other_prompt() -> None:
    assert texts.key_of([{"role": "user", "content": " Who\n WON? "}]) == texts.key_of(
        [{"role": "user", "content": "who won?"}]
    )
    assert texts.key_of([{"role": "user", "content": "x"}]) != texts.key_of([{"role": "system", "content": "x"}])
