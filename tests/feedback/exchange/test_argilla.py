"""Argilla's records: both shapes of responses, ties as equal ranks, drafts and discards left alone."""

import uuid
from typing import Any

import pytest

from feedback.errors import InvalidRow
from feedback.exchange import argilla
from tests.feedback.exchange.test_formats import ITEM

FIELDS = {"instruction": "Name a fruit.", "response-1": "A pear.", "response-2": "A stone.", "response-10": "Plum"}

GOOD = {"ranking": [{"user_id": "u", "value": ["response-1", "response-2"]}]}


def read(responses: Any, **changes: Any) -> dict[str, list[list[int]]]:
    row = {"id": "r1", "fields": FIELDS, "responses": responses, **changes}
    return {said.annotator: said.ranking for item in argilla.read(row) for said in item.said}


def ranked(**ranks: int) -> list[dict[str, Any]]:
    return [{"value": name.replace("_", "-"), "rank": rank} for name, rank in ranks.items()]


def test_a_ranking_by_question_with_ties_is_read_in_the_order_of_the_numbers() -> None:
    given = ranked(response_1=2, response_2=2, response_10=1)
    assert read({"ranking": [{"user_id": "u1", "value": given}]}) == {"u1": [[2], [0, 1]]}


def test_a_plain_list_of_names_is_a_strict_order() -> None:
    assert read({"ranking": [{"user_id": "u1", "value": ["response-2", "response-1"]}]}) == {"u1": [[1], [0]]}


def test_responses_by_user_are_read_too() -> None:
    values = {"preference": {"value": ranked(response_1=1, response_2=2)}}
    assert read([{"user_id": "u1", "status": "submitted", "values": values}]) == {"u1": [[0], [1]]}


def test_ratings_order_where_there_is_no_ranking() -> None:
    rated = {f"rating-{n}": [{"user_id": "u1", "value": score}] for n, score in ((1, 3), (2, 3), (3, 7))}
    [item] = argilla.read({"id": "r", "fields": FIELDS, "responses": rated})
    assert (item.said[0].ranking, item.said[0].quality) == ([[2], [0, 1]], [3, 3, 7])


def test_drafts_discards_and_other_questions_say_nothing() -> None:
    value = ranked(response_1=1, response_2=2)
    answers = [{"user_id": "u1", "status": status, "value": value} for status in ("draft", "discarded")]
    assert read({"ranking": answers}) == {}
    assert read({"quality": [{"user_id": "u1", "value": 5}]}) == {}
    assert read(None) == {}


@pytest.mark.parametrize(
    ("responses", "changes", "problem"),
    [
        ({}, {"fields": None}, "`fields`"),
        ({}, {"fields": {"prompt": "p", "response-1": "a"}}, "2 to 9"),
        ({"ranking": [{"user_id": "u", "value": ranked(response_1=1, other=2)}]}, {}, "other"),
        ({"ranking": [{"user_id": "u", "value": ["response-1", "response-1"]}]}, {}, "twice"),
        ({"ranking": [{"user_id": "u", "value": "response-1"}]}, {}, "no list"),
        ({"ranking": [{"user_id": "u", "value": [{"value": "response-1"}]}]}, {}, "without a rank"),
        (7, {}, "`responses`"),
        (GOOD, {"fields": {**FIELDS, "instruction": ""}}, "prompt"),
        (GOOD, {"metadata": {"messages": "{"}}, "JSON"),
    ],
)
def test_every_defect_is_named(responses: Any, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRow, match=problem):
        read(responses, **changes)


def test_users_are_uuids_and_the_metadata_says_whose() -> None:
    [row] = argilla.write(ITEM)
    users = {answer["user_id"] for answers in row["responses"].values() for answer in answers}
    assert users == {str(uuid.UUID(user)) for user in users} == {argilla.user_of("ann"), argilla.user_of("bob")}
    assert {said.annotator for item in argilla.read(row) for said in item.said} == {"ann", "bob"}
    assert None not in row["metadata"].values()
