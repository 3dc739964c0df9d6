"""Open WebUI's feedback: arena votes are pairs, thumbs are ratings and never losses of somebody else."""

from typing import Any

import pytest

from feedback.errors import InvalidRow
from feedback.exchange import open_webui
from feedback.exchange.items import Item
from feedback.exchange.open_webui import Opinion

CHAT = {
    "q0": {"id": "q0", "parentId": None, "role": "user", "content": "Hello"},
    "a0": {"id": "a0", "parentId": "q0", "role": "assistant", "content": "Hi!"},
    "q1": {"id": "q1", "parentId": "a0", "role": "user", "content": "Name a fruit."},
    "m1": {"id": "m1", "parentId": "q1", "role": "assistant", "content": "A pear.", "model": "one"},
    "m2": {"id": "m2", "parentId": "q1", "role": "assistant", "content": "A stone.", "selectedModelId": "two"},
}


def entry(rating: Any = 1, *, arena: bool = False, about: str = "m1", chat: Any = CHAT) -> dict[str, Any]:
    return {
        "id": "f1",
        "user_id": "u1",
        "type": "rating",
        "data": {"rating": rating, "model_id": "one", "reason": "accurate", "comment": "nice"},
        "meta": {"arena": arena, "message_id": about, "chat_id": "c1"},
        "snapshot": {"chat": {"id": "c1", "chat": {"history": {"messages": chat}}}},
    }


@pytest.mark.parametrize(("rating", "ranking"), [(1, [[0], [1]]), ("-1", [[1], [0]])])
def test_an_arena_vote_is_a_pair_with_its_conversation(rating: Any, ranking: list[list[int]]) -> None:
    [item] = open_webui.read(entry(rating, arena=True))
    assert isinstance(item, Item)
    assert [turn.content for turn in item.messages] == ["Hello", "Hi!", "Name a fruit."]
    assert [(each.text, each.model) for each in item.answers] == [("A pear.", "one"), ("A stone.", "two")]
    assert (item.said[0].annotator, item.said[0].ranking, item.customer) == ("u1", ranking, "u1")


def test_a_thumb_is_a_rating_although_another_answer_stands_beside_it() -> None:
    [opinion] = open_webui.read(entry(-1))
    assert opinion == Opinion(id="f1", who="u1", about="m1", rating=-1, reasons=["accurate"], comment="nice")


def test_a_vote_against_three_is_three_pairs() -> None:
    more = {**CHAT, "m3": {**CHAT["m2"], "id": "m3", "content": "Plum"}}
    assert len(list(open_webui.read(entry(1, arena=True, chat=more)))) == 2


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({**entry(), "data": None}, "`data`"),
        (entry("good"), "`rating`"),
        (entry(None), "`rating`"),
        ({**entry(arena=True), "snapshot": None}, "no snapshot"),
        (entry(arena=True, about="gone"), "not in the snapshot"),
        (entry(arena=True, chat={name: CHAT[name] for name in ("q0", "a0", "q1", "m1")}), "without another"),
        (entry(arena=True, chat={**CHAT, "m2": {**CHAT["m2"], "content": None}}), "no text"),
        (entry(arena=True, chat={**CHAT, "q1": {**CHAT["q1"], "content": ""}}), "empty"),
    ],
)
def test_every_defect_is_named(row: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRow, match=problem):
        list(open_webui.read(row))


def test_a_chat_that_goes_in_a_circle_ends() -> None:
    circle = {**CHAT, "q0": {**CHAT["q0"], "parentId": "a0"}}
    [item] = open_webui.read(entry(arena=True, chat=circle))
    assert isinstance(item, Item)
    assert len(item.messages) == open_webui.MOST_TURNS
