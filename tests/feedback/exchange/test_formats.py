"""Every format in both directions: what it can hold comes back as it was."""

import json
from typing import Any

import msgspec
import pytest

from feedback.exchange.formats import FORMATS
from feedback.exchange.items import Answer, Item, Said, judgements_of
from feedback.records import Message

TURNS = [
    Message(role="system", content="Be brief."),
    Message(role="user", content="Name a fruit. 🦊 <|x|>"),
    Message(role="assistant", content="An apple."),
    Message(role="user", content='Another "one",\n\nplease'),
]
ITEM = Item(
    id="cmp_1",
    messages=TURNS,
    answers=[Answer("A pear.", "m1"), Answer("A stone.", "m2", False), Answer("", "m3"), Answer("Plum", "m1")],
    said=[
        Said(annotator="ann", ranking=[[3, 0], [1], [2]], quality=[7, 3, 1, 7], flags={"rude": [1]}, note="odd"),
        Said(annotator="bob", ranking=[[1], [0]]),
    ],
    customer="acme",
    split="valid",
    group="training",
)
ANN = ITEM.said[0].ranking
WHOLE = ("rankings", "argilla", "label-studio")
TWO_WAYS = [name for name, each in FORMATS.items() if each.read and each.write]


def back(name: str, item: Item = ITEM) -> list[Item]:
    """Write an item, read it again."""
    known = FORMATS[name]
    assert known.write is not None
    assert known.read is not None
    rows: list[dict[str, Any]] = [json.loads(json.dumps(row)) for row in known.write(item)]
    return [found for row in rows for found in known.read(row) if isinstance(found, Item)]


def preferences(items: list[Item]) -> set[tuple[str, str, str]]:
    """Return (better text, worse text, annotator) of everything strict that was said."""
    found = set()
    for item in items:
        for a, b, winner, who in judgements_of(item):
            texts = item.answers[a].text, item.answers[b].text
            if winner != "tie":
                found.add((*(texts if winner == "a" else texts[::-1]), who))
    return found


@pytest.mark.parametrize("name", TWO_WAYS)
def test_every_strict_preference_survives_every_format(name: str) -> None:
    assert preferences(back(name)) == preferences([ITEM])
    assert len(preferences([ITEM])) == 6


@pytest.mark.parametrize("name", [name for name in TWO_WAYS if name != "trl"])
def test_the_conversation_survives_where_it_is_kept_as_one(name: str) -> None:
    assert all(item.messages == TURNS for item in back(name))


@pytest.mark.parametrize("name", ["whetstone", *WHOLE])
def test_whole_comparisons_survive_with_ties_models_customer_and_split(name: str) -> None:
    found = back(name)
    assert {(item.customer, item.split) for item in found} == {("acme", "valid")}
    assert all(item.answers == ITEM.answers for item in found)
    said = {each.annotator: [sorted(group) for group in each.ranking] for item in found for each in item.said}
    assert said == {"ann": [[0, 3], [1], [2]], "bob": [[1], [0]]}


@pytest.mark.parametrize("name", ["whetstone", "rankings"])
def test_our_own_formats_hold_everything_that_was_said(name: str) -> None:
    said = {each.annotator: each for item in back(name) for each in item.said}
    sorted_groups = [[0, 3], [1], [2]]
    assert said["ann"] == msgspec.structs.replace(ITEM.said[0], ranking=sorted_groups if name == "whetstone" else ANN)
    assert said["bob"] == ITEM.said[1]


@pytest.mark.parametrize(("name", "quality", "note"), [("argilla", 1, 0), ("label-studio", 0, 1)])
def test_scores_and_notes_survive_where_there_is_room_for_them(name: str, quality: int, note: int) -> None:
    said = next(each for item in back(name) for each in item.said if each.annotator == "ann")
    assert (said.quality == [7, 3, 1, 7], said.note == "odd") == (bool(quality), bool(note))


@pytest.mark.parametrize("name", ["whetstone", "rankings"])
def test_a_verdict_on_all_keeps_its_outcome(name: str) -> None:
    item = Item(
        id="x", messages=TURNS, answers=ITEM.answers[:2],
        said=[Said(annotator="ann", ranking=[[0, 1]], outcome="all_bad")],
    )  # fmt: skip
    assert [each.said for each in back(name, item)] == [item.said]


def test_one_format_is_only_read_and_one_only_written() -> None:
    assert [name for name, each in FORMATS.items() if not each.write] == ["open-webui"]
    assert [name for name, each in FORMATS.items() if not each.read] == ["scores"]
    assert all(each.title for each in FORMATS.values())
