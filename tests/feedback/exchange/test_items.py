"""Items: pairs become rankings where they can, and stay pairs where they cannot; nothing is made up."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.errors import InvalidRow
from feedback.exchange.items import (
    NOBODY,
    Answer,
    Item,
    Judgement,
    Said,
    customer_of,
    items_of,
    judgements_of,
    messages_of,
    name_of,
    ranking_of,
    split_of,
    text_of,
)
from tests.builders import make_messages


def judged(*said: tuple[int, int, str], by: str = "ann") -> list[Judgement]:
    return [Judgement(a, b, winner, by) for a, b, winner in said]


def whole(k: int) -> Item:
    return Item(id="row", messages=make_messages(), answers=[Answer(f"Fruit {n}.") for n in range(k)], said=[])


@pytest.mark.parametrize(
    ("said", "ranking"),
    [
        ([(0, 1, "a"), (0, 2, "a"), (1, 2, "tie")], [[0], [1, 2]]),
        ([(1, 0, "a"), (2, 0, "a"), (2, 1, "a")], [[2], [1], [0]]),
        ([(3, 5, "b")], [[5], [3]]),
        ([(0, 1, "tie")], [[0, 1]]),
        ([(0, 1, "a"), (1, 2, "a"), (0, 2, "b")], None),
        ([(0, 1, "a"), (1, 2, "a")], None),
        ([(0, 1, "tie"), (1, 2, "tie"), (0, 2, "a")], None),
        ([(0, 1, "a"), (1, 0, "a")], None),
        ([(0, 1, "a"), (0, 1, "a")], None),
    ],
)
def test_pairs_are_a_ranking_only_if_an_order_says_exactly_them(
    said: list[tuple[int, int, str]], ranking: list[list[int]] | None
) -> None:
    assert ranking_of(judged(*said)) == ranking


@given(st.permutations(range(5)), st.sets(st.integers(1, 4)), st.integers(2, 5))
def test_any_ranking_survives_being_taken_apart_into_pairs(order: list[int], cuts: set[int], k: int) -> None:
    edges = [0, *sorted(cuts), 5]
    groups = [sorted(each for each in order[a:b] if each < k) for a, b in pairwise(edges)]
    ranking = [group for group in groups if group]
    item = Item(messages=[], answers=[Answer("x")] * 5, said=[Said(annotator="ann", ranking=ranking)])
    assert ranking_of(judgements_of(item)) == ranking


def test_rankings_of_several_people_stay_one_comparison() -> None:
    said = judged((0, 1, "a"), (0, 2, "a"), (1, 2, "a")) + judged((0, 1, "b"), by="bob")
    [item] = items_of(whole(3), said)
    assert item.said == [Said(annotator="ann", ranking=[[0], [1], [2]]), Said(annotator="bob", ranking=[[1], [0]])]
    assert len(item.answers) == 3


def test_what_is_no_ranking_becomes_one_comparison_for_every_pair_with_all_its_annotators() -> None:
    circle = judged((0, 1, "a"), (1, 2, "a"), (0, 2, "b"))
    found = list(items_of(whole(3), circle + judged((1, 0, "a"), by="bob")))
    assert [[each.text for each in item.answers] for item in found] == [
        ["Fruit 0.", "Fruit 1."],
        ["Fruit 1.", "Fruit 2."],
        ["Fruit 0.", "Fruit 2."],
    ]
    assert found[0].said == [Said(annotator="ann", ranking=[[0], [1]]), Said(annotator="bob", ranking=[[1], [0]])]


def test_more_than_nine_completions_are_taken_apart() -> None:
    [item] = items_of(whole(10), judged((2, 9, "b")))
    assert (item.id, item.said[0].ranking) == ("row:2-9", [[1], [0]])


def test_who_contradicts_themselves_on_a_pair_is_not_heard_on_it() -> None:
    said = judged((0, 1, "a"), (0, 1, "b"), (0, 2, "a"))
    assert [item.id for item in items_of(whole(3), said)] == ["row:0-2"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "no prompt"),
        ({"prompt": None}, "no prompt"),
        ({"prompt": " \n"}, "empty"),
        ({"messages": []}, "no prompt"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": 5}]}, "no text"),
        ({"messages": ["x"]}, "role"),
        ({"prompt": "x" * 200_001}, "characters"),
    ],
)
def test_a_row_without_a_usable_prompt_is_refused(row: dict[str, object], problem: str) -> None:
    with pytest.raises(InvalidRow, match=problem):
        messages_of(row)


def test_names_and_texts_are_what_they_must_be() -> None:
    assert (name_of(None), name_of(""), name_of(7), name_of("ann")) == (NOBODY, NOBODY, "7", "ann")
    for wrong in (True, 1.5, ["x"], "a\nb", "x" * 201):
        with pytest.raises(InvalidRow):
            name_of(wrong)
    with pytest.raises(InvalidRow, match="note is no text"):
        text_of(None, "note")


def test_a_split_and_a_customer_are_optional_and_checked() -> None:
    assert (split_of({}), split_of({"split": ""}), split_of({"split": "test"})) == (None, None, "test")
    assert (customer_of({}), customer_of({"customer": "acme"})) == ("", "acme")
    with pytest.raises(InvalidRow, match="split"):
        split_of({"split": "training"})
    with pytest.raises(InvalidRow, match="customer"):
        customer_of({"customer": {}})
