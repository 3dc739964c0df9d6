"""Label Studio's tasks: rankers with and without buckets, choices between two, cancelled annotations left alone."""

from typing import Any

import pytest

from feedback.errors import InvalidRow
from feedback.exchange import label_studio

ITEMS = [{"id": "x", "body": "A pear."}, {"id": "y", "body": "A stone."}, {"id": "z", "title": "Plum"}]


def read(value: Any, items: Any = ITEMS, by: Any = 7, **changes: Any) -> dict[str, list[list[int]]]:
    result = [{"from_name": "rank", "type": "ranker", "value": value}]
    row = {
        "id": 1,
        "data": {"prompt": "Name a fruit.", "items": items},
        "annotations": [{"completed_by": by, "result": result, **changes}],
    }
    return {said.annotator: said.ranking for item in label_studio.read(row) for said in item.said}


@pytest.mark.parametrize(
    ("ranker", "ranking"),
    [
        (["z", "x", "y"], [[2], [0], [1]]),
        ({"rank": ["z", "x", "y"]}, [[2], [0], [1]]),
        ({"1": ["y"], "2": ["x", "z"]}, [[1], [0, 2]]),
        ({"2": ["y"], "1": ["x"], "_": ["z"]}, [[0], [1]]),
        ({"10": ["y"], "9": ["x"]}, [[0], [1]]),
        ({"tier 2": ["y"], "tier 1": ["x"]}, [[0], [1]]),
        ({"good": ["y"], "bad": ["x", "z"]}, [[1], [0, 2]]),
        ({"1": ["x", "y", "z"]}, [[0, 1, 2]]),
    ],
)
def test_orders_and_buckets_are_read(ranker: Any, ranking: list[list[int]]) -> None:
    assert read({"ranker": ranker}) == {"7": ranking}


@pytest.mark.parametrize(
    ("value", "ranking"),
    [
        ({"selected": "left"}, [[0], [1]]),
        ({"choices": ["Response 2"]}, [[1], [0]]),
        ({"choices": ["Tie"]}, [[0, 1]]),
        ({"choices": ["y"]}, [[1], [0]]),
    ],
)
def test_a_choice_between_two_is_a_pair(value: Any, ranking: list[list[int]]) -> None:
    assert read(value, ITEMS[:2], {"id": 3, "email": "ann@x.org"}) == {"ann@x.org": ranking}


def test_cancelled_unranked_and_unclear_annotations_say_nothing() -> None:
    assert read({"ranker": ["x", "y"]}, was_cancelled=True) == {}
    assert read({"ranker": {"1": ["x"], "_": ["y", "z"]}}) == {}
    assert read({"choices": ["Maybe"]}, ITEMS[:2]) == {}
    assert read({"choices": ["Tie"]}) == {}, "of three answers, a tie of which?"


def test_two_answers_without_a_list_are_read_too() -> None:
    row = {
        "data": {"prompt": "p", "answer1": "a", "answer2": "b"},
        "annotations": [{"result": [{"value": {"selected": "right"}}]}],
    }
    [item] = label_studio.read(row)
    assert ([each.text for each in item.answers], item.said[0].ranking) == (["a", "b"], [[1], [0]])


@pytest.mark.parametrize(
    ("value", "items", "problem"),
    [
        ({"ranker": ["x", "x"]}, ITEMS, "twice"),
        ({"ranker": ["x", "q"]}, ITEMS, "not there"),
        ({"ranker": 5}, ITEMS, "neither"),
        ({"ranker": ["x", "y"]}, ITEMS[:1], "2 to 9"),
        ({"ranker": ["x", "y"]}, [*ITEMS, ITEMS[0]], "same id"),
        ({"ranker": ["x", "y"]}, [5, 6], "no object"),
        ({"ranker": ["x", "y"]}, [{"id": "x"}, {"id": "y"}], "no text"),
        (None, ITEMS, "no value"),
    ],
)
def test_every_defect_is_named(value: Any, items: Any, problem: str) -> None:
    with pytest.raises(InvalidRow, match=problem):
        read(value, items)


def test_a_task_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidRow, match="`data`"):
        list(label_studio.read({"data": None}))
