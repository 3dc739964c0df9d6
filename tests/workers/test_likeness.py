"""Near-repetitions: what counts as said twice, and what never does."""

import time

import pytest

from workers.likeness import alike, normalised, twin

LONG = "The mitochondrion makes most of the chemical energy that a cell needs, and so it is called its power plant"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Yes.", " yes "),
        ("Hello,  WORLD!", "hello world"),
        ("“Quoted”", '"quoted"'),
        ("ﬁne", "fine"),
        ("!!!", "!!!"),
        (LONG, LONG.replace("most", "much")),
        (LONG, LONG + "."),
    ],
)
def test_these_nearly_repeat_each_other(one: str, other: str) -> None:
    assert alike(one, other)
    assert alike(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Yes.", "No."),
        ("cat", "cut"),
        ("x > 0", "x < 0"),
        ("5 - 3", "5 * 3"),
        ("1.5", "15"),
        ("!!!", "???"),
        (LONG + " since 1957", LONG + " since 1958"),
        (LONG, LONG + ", or so the textbooks have said for a long time"),
        (LONG, ""),
    ],
)
def test_these_do_not(one: str, other: str) -> None:
    assert not alike(one, other)
    assert not alike(other, one)


def test_a_twin_is_the_first_that_is_nearly_repeated() -> None:
    assert twin("yes", ["No.", "Yes.", "YES"]) == 1
    assert twin("Perhaps.", ["No.", "Yes."]) is None
    assert twin("Perhaps.", []) is None


def test_normal_text_that_was_only_punctuation_stays_what_it_is() -> None:
    assert normalised(" ... ") == "..."
    assert normalised("A,  b") == "a b"


def test_nine_answers_of_a_thousand_words_are_looked_through_in_no_time() -> None:
    texts = [" ".join(f"word{(number * n) % 997}" for n in range(1000)) for number in range(1, 10)]
    began_s = time.perf_counter()
    assert [twin(text, texts[:place]) for place, text in enumerate(texts)] == [None] * 9
    assert time.perf_counter() - began_s < 1.0
