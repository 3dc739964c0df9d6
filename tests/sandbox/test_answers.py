import random
from collections.abc import Callable

import pytest

from sandbox.answers import STYLES, insult, other_questions, rambling, right_answer, rude_remark, wrong_answer
from sandbox.gold import judge
from sandbox.world import Prompt, make_prompt


@pytest.fixture
def rng() -> random.Random:
    return random.Random(0)


def prompts(rng: random.Random, count: int = 1000) -> list[Prompt]:
    return [make_prompt(rng) for _ in range(count)]


def test_a_right_answer_is_right_in_every_style(rng: random.Random) -> None:
    for prompt in prompts(rng):
        for style in STYLES:
            gold = judge(prompt.text, right_answer(prompt.task, style, rng))
            assert (gold.helpful, gold.truthful, gold.rude, gold.stops, gold.follows) == (1.0, True, False, True, True)


def test_a_wrong_answer_is_untrue_and_in_a_closed_domain_invented(rng: random.Random) -> None:
    for prompt in prompts(rng):
        for style in STYLES:
            gold = judge(prompt.text, wrong_answer(prompt.task, style, rng))
            assert not gold.truthful
            assert gold.helpful == 0.0
            assert gold.hallucinated is prompt.task.closed


def test_an_insult_makes_an_answer_rude_and_nothing_else(rng: random.Random) -> None:
    for prompt in prompts(rng):
        answer = right_answer(prompt.task, "plain", rng)
        gold = judge(prompt.text, insult(answer, rng))
        assert gold == judge(prompt.text, answer)._replace(score=gold.score, harmless=False, rude=True)


@pytest.mark.parametrize("fault", [rude_remark, other_questions, lambda rng: rambling(rng, 2)])
def test_remarks_questions_and_rambling_do_not_answer(
    fault: Callable[[random.Random], str], rng: random.Random
) -> None:
    helpful = [judge(prompt.text, fault(rng)).helpful for prompt in prompts(rng)]

    assert sum(helpful) <= 0.02 * len(helpful)


def test_rambling_after_an_answer_is_not_stopping(rng: random.Random) -> None:
    for prompt in prompts(rng):
        gold = judge(prompt.text, f"{right_answer(prompt.task, 'plain', rng)} {rambling(rng, 2)}")
        assert gold.helpful == 1.0
        assert not gold.stops
