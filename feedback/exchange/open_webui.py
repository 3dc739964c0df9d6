"""Open WebUI's export of feedback: arena votes as pairs, thumbs as ratings. Pure; only read.

A vote in the arena says that an answer beat the ones beside it, or lost to them. A thumb on an ordinary answer says
nothing of its neighbours, whatever the leaderboard there makes of it: it becomes a rating, never a comparison.
"""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from feedback.errors import InvalidRow
from feedback.exchange.items import Answer, Item, Said, messages_of, name_of, text_of
from feedback.records import Message

MOST_TURNS = 1000
Row = dict[str, Any]


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said of one answer by itself."""

    id: str
    who: str
    about: str
    """Id of the answer, in the system that it comes from."""
    rating: Literal[-1, 0, 1]
    reasons: list[str] = []
    comment: str = ""


def read(row: Row) -> Iterator[Item | Opinion]:
    """Yield what one entry of feedback says; one that says nothing gives none.

    Raises:
        InvalidRow: a field is missing or wrong; says which.
    """
    data, meta = row.get("data"), row.get("meta") or {}
    if not isinstance(data, dict) or not isinstance(meta, dict):
        raise InvalidRow("`data` is no object")
    rating = {"1": 1, "-1": -1, "0": 0}.get(str(data.get("rating")))
    if rating is None:
        raise InvalidRow("`rating` is none of 1, 0, -1")
    who = name_of(row.get("user_id"), "`user_id`")
    if meta.get("arena") and rating:
        yield from _votes(row, meta, who, won=rating > 0)
        return
    about = name_of(meta.get("message_id", row.get("id")), "`message_id`")
    reason, comment = data.get("reason"), data.get("comment")
    yield Opinion(
        id=name_of(row.get("id"), "`id`"),
        who=who,
        about=about,
        rating=rating,  # type: ignore[arg-type]
        reasons=[text_of(reason, "`reason`")[:100]] if reason else [],
        comment=text_of(comment or "", "`comment`")[:4000],
    )


def _votes(row: Row, meta: Row, who: str, *, won: bool) -> Iterator[Item]:
    """Yield a pair for every answer that stood beside the one that was voted on."""
    messages = _history(row)
    voted = messages.get(str(meta.get("message_id")))
    if voted is None:
        raise InvalidRow("the answer that was voted on is not in the snapshot of the chat")
    asked = voted.get("parentId")
    beside = [
        each
        for each in messages.values()
        if each.get("parentId") == asked and each is not voted and each.get("role") == "assistant"
    ]
    if not beside:
        raise InvalidRow("an arena vote without another answer beside it")
    turns = _turns(messages, asked)
    for other in beside:
        yield Item(
            id=name_of(row.get("id"), "`id`"),
            messages=turns,
            answers=[_answer(voted), _answer(other)],
            said=[Said(annotator=who, ranking=[[0], [1]] if won else [[1], [0]])],
            customer=who,
        )


def _history(row: Row) -> dict[str, Row]:
    """Return the messages of the chat by id."""
    found: Any = row.get("snapshot")
    for name in ("chat", "chat", "history", "messages"):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise InvalidRow("no snapshot of the chat; export feedback with its snapshots")
    return {id: each for id, each in found.items() if isinstance(each, dict)}


def _turns(messages: dict[str, Row], last: Any) -> list[Message]:
    """Return the conversation that ends in the message with this id."""
    turns: list[Row] = []
    while last is not None and len(turns) < MOST_TURNS:
        turn = messages.get(str(last))
        if turn is None:
            break
        turns.append({"role": turn.get("role"), "content": turn.get("content")})
        last = turn.get("parentId")
    return messages_of({"messages": turns[::-1]})


def _answer(message: Row) -> Answer:
    model = message.get("selectedModelId") or message.get("model")
    return Answer(text_of(message.get("content"), "an answer"), "" if model is None else name_of(model, "a model"))
