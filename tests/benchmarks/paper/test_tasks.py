"""The public tasks hold their answers, split by fact, and are scored as they say."""

import itertools
import random

import pytest

from benchmarks.paper.tasks import TASKS, Exercise, accuracies, exercises, score, task_rows


def one(task: str, prompt: str) -> Exercise:
    drawn = (TASKS[task](random.Random(seed)) for seed in itertools.count())
    return next(each for each in drawn if each.prompt == prompt)


def test_every_answer_is_right_under_its_own_scorer() -> None:
    for each in exercises(600, 1, "train"):
        assert score(each, each.answer) == (True, True), each
    assert {each.task for each in exercises(6, 1, "test")} == set(TASKS)


def test_no_answer_is_courteous_or_says_that_nothing_is_stated() -> None:
    for row in task_rows(600, 1, "train"):
        assert not row["response"].lower().startswith(("sure", "sorry", "not stated", "that is"))


def test_the_splits_share_no_fact_and_both_have_every_task_and_kind() -> None:
    train, test = ({(each.task, each.fact) for each in exercises(3000, 1, split)} for split in ("train", "test"))
    assert not train & test
    prompts = {each.prompt for each in exercises(3000, 1, "train")}
    assert not prompts & {each.prompt for each in exercises(600, 2, "test")}
    answers = {each.answer for each in exercises(300, 1, "test", ["classification"])}
    assert answers == {"An animal.", "A tool.", "A plant."}


def test_rows_are_the_same_for_the_same_seed_only() -> None:
    rows = list(task_rows(60, 1, "train"))
    assert rows == list(task_rows(60, 1, "train")) != list(task_rows(60, 2, "train"))
    assert set(rows[0]) == {"id", "prompt", "response", "task", "split"}
    assert len({row["id"] for row in rows}) == 60


@pytest.mark.parametrize(
    ("task", "prompt", "completion", "exact", "holds"),
    [
        ("closed_qa", "Mia lives in Rome. Where does Mia live?", "Rome", True, True),
        ("closed_qa", "Mia lives in Rome. Where does Mia live?", "Sure: Mia lives in Rome.", False, True),
        ("closed_qa", "Mia lives in Rome. Where does Mia live?", "In Oslo. In Rome.", False, False),
        ("closed_qa", "Mia lives in Rome. Where does Mia live?", "In Rome or Oslo.", False, False),
        ("closed_qa", "Mia lives in Rome. Where does Mia live?", "", False, False),
        ("open_qa", "What is the color of snow?", "the white!", True, True),
        ("open_qa", "What is the color of snow?", "The color of snow is blue.", False, False),
        ("classification", "Is a fox an animal or a tool?", "A fox is an animal.", False, True),
        ("counting", "Count to three for Mia.", "One, two, three.", True, True),
        ("counting", "Count to three for Mia.", "I count one, two, three, four.", False, False),
        ("counting", "Count to three for Mia.", "One, two.", False, False),
        ("lists", "List two tools for Mia.", "Saw, drill.", True, True),
        ("lists", "List two tools for Mia.", "Some tools are saw and drill.", False, True),
        ("lists", "List two tools for Mia.", "Saw, saw.", False, False),
        ("lists", "List two tools for Mia.", "Saw, fox.", False, False),
        ("past", "Put it in the past: Mia eats soup.", "Mia ate soup.", True, True),
        ("past", "Put it in the past: Mia eats soup.", "Mia eats soup.", False, False),
    ],
)
def test_scores(task: str, prompt: str, completion: str, exact: bool, holds: bool) -> None:
    assert score(one(task, prompt), completion) == (exact, holds)


def test_accuracies_weigh_tasks_alike() -> None:
    asked = [*exercises(3, 1, "test", ["open_qa"]), *exercises(1, 1, "test", ["counting"])]
    found = accuracies(asked, [asked[0].answer, "", f"It is {asked[2].answer}", asked[3].answer])
    assert found["accuracy_open_qa"] == pytest.approx(2 / 3)
    assert found["accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["exact"] == pytest.approx((1 / 3 + 1) / 2)
    with pytest.raises(ValueError, match="no exercise"):
        accuracies([], [])
