"""Argilla's records, as its JSON export has them: fields, a ranking question, and a rating per response. Pure.

The prompt is the field ``prompt``, completions are the fields ``response-1`` and so on, in order. A ranking is a list
of ``{"value", "rank"}`` in which equal ranks are ties; a plain list of names, as its own exports have, has no ties.
Users are UUIDs there: annotators get one made of their name, and the metadata says which is whose.
"""

import re
import uuid
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec

from feedback.errors import InvalidRow
from feedback.exchange.items import (
    MOST_COMPLETIONS,
    Answer,
    Item,
    Said,
    customer_of,
    messages_of,
    name_of,
    split_of,
    text_of,
)
from feedback.exchange.trl import plain_text

RESPONSE = re.compile(r"(?:response|completion|generation|answer|output)[-_ ]?(\d+)")
QUESTIONS = ("ranking", "preference", "rank")
Row = dict[str, Any]


def write(item: Item) -> Iterator[Row]:
    """Yield the record of an item."""
    names = [f"response-{number}" for number in range(1, len(item.answers) + 1)]
    rankings = [
        {
            "user_id": user_of(said.annotator),
            "status": "submitted",
            "value": [
                {"value": names[index], "rank": rank}
                for rank, group in enumerate(said.ranking, 1)
                for index in sorted(group)
            ],
        }
        for said in item.said
    ]
    ratings = {
        f"rating-{number}": [
            {"user_id": user_of(said.annotator), "status": "submitted", "value": said.quality[number - 1]}
            for said in item.said
            if said.quality
        ]
        for number in range(1, len(names) + 1)
    }
    models = {f"model-{number}": each.model for number, each in enumerate(item.answers, 1) if each.model}
    metadata = {
        "messages": msgspec.json.encode(item.messages).decode(),
        "split": item.split,
        "customer": item.customer,
        "unfinished": [name for name, each in zip(names, item.answers, strict=True) if not each.finished],
        "annotators": [f"{user_of(said.annotator)} {said.annotator}" for said in item.said],
        **models,
    }
    yield {
        "id": item.id,
        "status": "completed",
        "fields": {
            "prompt": plain_text(item.messages),
            **{name: each.text for name, each in zip(names, item.answers, strict=True)},
        },
        "metadata": {name: value for name, value in metadata.items() if value},
        "suggestions": {},
        "responses": {"ranking": rankings, **{name: given for name, given in ratings.items() if given}},
        "vectors": {},
    }


def user_of(annotator: str) -> str:
    """Return the UUID that stands for an annotator: the same name has the same one."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"whetstone:{annotator}"))


def read(row: Row) -> Iterator[Item]:
    """Yield the item of a record; a record that nobody answered gives none.

    Raises:
        InvalidRow: a field is missing or wrong; says which.
    """
    fields, metadata = row.get("fields"), row.get("metadata") or {}
    if not isinstance(fields, dict) or not isinstance(metadata, dict):
        raise InvalidRow("`fields` is no object")
    numbered = {name: int(found[1]) for name in fields if (found := RESPONSE.fullmatch(name))}
    names = sorted(numbered, key=lambda name: numbered[name])
    if not 2 <= len(names) <= MOST_COMPLETIONS:
        raise InvalidRow(f"a record needs 2 to {MOST_COMPLETIONS} fields such as response-1")
    models = [metadata.get(f"model-{number}") for number in range(1, len(names) + 1)]
    cut = metadata.get("unfinished") or []
    answers = [
        Answer(text_of(fields[name], f"`{name}`"), "" if model is None else name_of(model, "a model"), name not in cut)
        for name, model in zip(names, models, strict=True)
    ]
    known = dict(
        each.split(" ", 1) for each in metadata.get("annotators") or [] if isinstance(each, str) and " " in each
    )
    given = _answers(row.get("responses"))
    said = [_said(name_of(known.get(user, user)), values, names) for user, values in given.items()]
    if heard := [each for each in said if each is not None]:
        yield Item(
            id=name_of(row.get("id"), "`id`"),
            messages=_messages(fields, metadata),
            answers=answers,
            said=heard,
            customer=customer_of(metadata),
            split=split_of(metadata),
        )


def _messages(fields: Row, metadata: Row) -> Any:
    kept = metadata.get("messages")
    if isinstance(kept, str):
        try:
            return messages_of({"messages": msgspec.json.decode(kept)})
        except msgspec.DecodeError as error:
            raise InvalidRow("`messages` in the metadata is no JSON") from error
    prompt = next((fields[name] for name in ("prompt", "instruction", "text", "chat") if name in fields), None)
    return messages_of({"prompt": prompt})


def _answers(given: Any) -> dict[str, Row]:
    """Return user -> question -> value, of either shape in which responses are exported."""
    found: defaultdict[str, Row] = defaultdict(dict)
    if isinstance(given, dict):  # question -> [{user_id, value}]
        for question, answers in given.items():
            for answer in answers if isinstance(answers, list) else []:
                if isinstance(answer, dict) and answer.get("status", "submitted") == "submitted":
                    found[name_of(answer.get("user_id"))][question] = answer.get("value")
    elif isinstance(given, list):  # [{user_id, values: {question: {value}}}]
        for answer in given:
            if isinstance(answer, dict) and answer.get("status", "submitted") == "submitted":
                for question, value in (answer.get("values") or {}).items():
                    found[name_of(answer.get("user_id"))][question] = (value or {}).get("value")
    elif given is not None:
        raise InvalidRow("`responses` is neither an object nor a list")
    return found


def _said(user: str, values: Row, names: list[str]) -> Said | None:
    ranks = next((_ranks(values[name], names) for name in QUESTIONS if name in values), None)
    scores = [values.get(f"rating-{number}") for number in range(1, len(names) + 1)]
    rated = all(isinstance(each, int) and 1 <= each <= 7 for each in scores)
    if ranks is None and rated:
        ranks = {index: -int(score or 0) for index, score in enumerate(scores)}
    if not ranks:
        return None
    ranking = [sorted(index for index in ranks if ranks[index] == rank) for rank in sorted(set(ranks.values()))]
    return Said(annotator=user, ranking=ranking, quality=[int(each or 0) for each in scores] if rated else [])


def _ranks(given: Any, names: list[str]) -> dict[int, int]:
    if not isinstance(given, list):
        raise InvalidRow("a ranking is no list")
    ranks: dict[int, int] = {}
    for place, each in enumerate(given):
        name, rank = (each.get("value"), each.get("rank")) if isinstance(each, dict) else (each, place)
        if name not in names or isinstance(rank, bool) or not isinstance(rank, int) or names.index(name) in ranks:
            raise InvalidRow(f"a ranking names {name!r} twice, without a rank, or it is no field")
        ranks[names.index(name)] = rank
    return ranks if len(ranks) > 1 else {}
