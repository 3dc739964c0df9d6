import random
from collections import Counter

import pytest

from sandbox.world import USE_CASE_SHARES, make_prompt, make_unstated_prompt, read_prompt


def test_every_prompt_is_read_back_as_the_task_it_was_made_for() -> None:
    rng = random.Random(0)

    for _ in range(3000):
        prompt = make_prompt(rng)
        assert read_prompt(prompt.text) == prompt.task


def test_use_cases_come_in_the_shares_of_the_papers_table_1() -> None:
    rng = random.Random(1)
    count = 8000

    found = Counter(make_prompt(rng).task.use_case for _ in range(count))

    assert set(found) == set(USE_CASE_SHARES)
    for use_case, share in USE_CASE_SHARES.items():
        assert found[use_case] / count == pytest.approx(share / sum(USE_CASE_SHARES.values()), abs=0.02)


def test_the_same_seed_gives_the_same_prompts() -> None:
    assert [make_prompt(random.Random(3)).text for _ in range(2)] == [make_prompt(random.Random(3)).text] * 2


def test_a_purpose_does_not_change_the_task() -> None:
    assert read_prompt("For my blog: Count to two for Mia.") == read_prompt("Count to two for Mia.")


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("Mia lives in Rome. Where does Mia live?", True),
        ("Mia lives in Rome. Where does Tom live?", False),
        ("Mia lives in Rome. What does Mia eat?", False),
        ("Write a note on where Mia lives: Mia lives in Rome.", True),
        ("Write a note on what Mia eats: Mia lives in Rome.", False),
        ("I eat soup. What do I eat?", True),
        ("I eat soup. Where do I live?", False),
        ("Find the food: Mia eats soup.", True),
        ("Find the color: Mia eats soup.", False),
    ],
)
def test_whether_a_context_holds_the_answer_is_read_from_the_prompt(text: str, stated: bool) -> None:
    task = read_prompt(text)

    assert task is not None
    assert task.closed
    assert task.unstated is not stated


def test_unstated_prompts_are_unstated() -> None:
    rng = random.Random(2)

    assert all(make_unstated_prompt(rng).task.unstated for _ in range(200))


@pytest.mark.parametrize("text", ["", "Hello there.", "Write a poem.", "Is a fox a tool or a tool?", "x" * 10_000])
def test_a_text_of_another_world_asks_for_nothing_known(text: str) -> None:
    assert read_prompt(text) is None


def test_prompts_are_various_enough_not_to_be_duplicates_of_each_other() -> None:
    rng = random.Random(4)

    assert len({make_prompt(rng).text for _ in range(3000)}) > 1500
