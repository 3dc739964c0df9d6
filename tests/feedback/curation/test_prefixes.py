"""Sameness by beginnings: the rule at its borders, and three ways to apply it that must agree."""

import random

import pytest

from feedback import prompts
from feedback.client import Ledger
from feedback.curation import prefixes
from feedback.curation.prefixes import PrefixIndex, needed
from tests.builders import make_prompt

LETTERS = "ab é日🦊"


def common(one: str, other: str) -> int:
    """Return the length of the longest common prefix, characters."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def repeats(new: str, kept: list[str]) -> bool:
    """The rule as it is told, each against each."""
    if len(new) < 80:
        return new in kept
    return any(common(new, other) >= needed(len(new)) for other in kept)


@pytest.mark.parametrize(
    ("length", "chars"),
    [(1, 1), (79, 79), (80, 80), (88, 80), (89, 81), (100, 90), (222, 200), (223, 200), (9000, 200)],
)
def test_how_much_must_be_in_common(length: int, chars: int) -> None:
    assert needed(length) == chars


@pytest.mark.parametrize(
    ("kept", "new", "verdict"),
    [
        ("name a fruit.", "name a fruit.", True),
        ("name a fruit.", "name a fruit?", False),
        ("name a fruit and a tree", "name a fruit", False),
        ("x" * 90 + "y" * 10, "x" * 90 + "z" * 10, True),
        ("x" * 89 + "y" * 11, "x" * 89 + "z" * 11, False),
        ("x" * 200 + "y" * 99, "x" * 200 + "z" * 500, True),
        ("x" * 199 + "y" * 99, "x" * 199 + "z" * 500, False),
        ("x" * 95, "x" * 100, True),
        ("x" * 89, "x" * 100, False),
        ("x" * 300, "x" * 100, True),
        ("x" * 79, "x" * 80, False),
        ("x" * 90, "x" * 79, False),
    ],
)
def test_a_new_text_repeats_a_kept_one_by_how_much_of_itself_they_share(kept: str, new: str, verdict: bool) -> None:
    index = PrefixIndex()
    index.add(kept)
    assert index.repeats(new) is verdict
    assert repeats(new, [kept]) is verdict


def test_an_empty_index_repeats_nothing() -> None:
    assert not PrefixIndex().repeats("")
    assert not PrefixIndex().repeats("x" * 300)


@pytest.mark.redis
@pytest.mark.parametrize("seed", range(3))
def test_memory_and_ledger_and_comparing_each_with_each_agree(ledger: Ledger, seed: int) -> None:
    rng = random.Random(seed)
    index = PrefixIndex()
    kept: list[str] = []
    verdicts = []
    for text in _texts(rng, 400):
        expected = repeats(text, kept)
        assert index.repeats(text) is expected, text
        assert (prompts.keep(ledger, make_prompt(text), text, 10_000) == "duplicate") is expected, text
        if not expected:
            kept.append(text)
        assert index.add(text) is not expected
        verdicts.append(expected)
    assert 50 < sum(verdicts) < 350, "both verdicts are common"


def test_what_an_index_holds_of_a_text_is_enough_for_every_probe() -> None:
    rng = random.Random(5)
    for text in _texts(rng, 300):
        whole = text + prefixes.END
        for other in (text, text[: rng.randint(0, len(text))], text + "more"):
            wanted = prefixes.probe(other)
            assert prefixes.entry(text, "pro_1").startswith(wanted) == whole.startswith(wanted)


def _texts(rng: random.Random, count: int) -> list[str]:
    """Texts of few beginnings and all lengths; many share just as much as is needed, or one character less or more."""
    stems = ["".join(rng.choices(LETTERS, k=260)) for _ in range(6)]
    texts = []
    for _ in range(count):
        length = rng.choice([rng.randint(1, 300), 79, 80, 81, 222, 223])
        shared = max(0, min(length, needed(length) + rng.randint(-1, 1)))
        texts.append(rng.choice(stems)[:shared] + "".join(rng.choices(LETTERS, k=length - shared)))
    return texts
