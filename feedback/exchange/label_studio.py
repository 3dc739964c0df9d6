"""Label Studio's tasks, as its JSON export has them: a list of items, ranked by a ranker or chosen between. Pure.

The ranker keeps no ties by itself; buckets do. Written are buckets ``1`` (best), ``2`` and so on, one per tie group;
read are those, a plain order, and a choice between two answers.
"""

import re
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

TIES = ("tie", "equal", "same", "both good", "both bad", "both")
LEFT, RIGHT = ("left", "a", "1", "response 1", "answer 1"), ("right", "b", "2", "response 2", "answer 2")
Row = dict[str, Any]


def write(item: Item) -> Iterator[Row]:
    """Yield the task of an item, with an annotation per annotator."""
    yield {
        "data": {
            "id": item.id,
            "prompt": plain_text(item.messages),
            "messages": msgspec.to_builtins(item.messages),
            "items": [
                {
                    "id": str(index),
                    "title": f"Answer {index + 1}",
                    "body": each.text,
                    "model": each.model,
                    "finished": each.finished,
                }
                for index, each in enumerate(item.answers)
            ],
            "split": item.split,
            "customer": item.customer,
        },
        "annotations": [
            {
                "completed_by": {"email": said.annotator},
                "was_cancelled": False,
                "result": [
                    {"from_name": "rank", "to_name": "answers", "type": "ranker", "value": {"ranker": _buckets(said)}},
                    *(
                        [{"from_name": "note", "to_name": "prompt", "type": "textarea", "value": {"text": [said.note]}}]
                        if said.note
                        else []
                    ),
                ],
            }
            for said in item.said
        ],
        "predictions": [],
    }


def read(row: Row) -> Iterator[Item]:
    """Yield the item of a task; a task that nobody annotated gives none.

    Raises:
        InvalidRow: a field is missing or wrong; says which.
    """
    data, annotations = row.get("data"), row.get("annotations", [])
    if not isinstance(data, dict) or not isinstance(annotations, list):
        raise InvalidRow("`data` is no object, or `annotations` no list")
    ids, answers = _items(data)
    heard = [
        said
        for each in annotations
        if isinstance(each, dict) and not each.get("was_cancelled")
        if (said := _said(each, ids)) is not None
    ]
    if heard:
        messages = messages_of({"messages": data["messages"]} if "messages" in data else {"prompt": data.get("prompt")})
        yield Item(
            id=name_of(data.get("id", row.get("id")), "`id`"),
            messages=messages,
            answers=answers,
            said=heard,
            customer=customer_of(data),
            split=split_of(data),
        )


def _buckets(said: Said) -> dict[str, list[str]]:
    return {str(rank): [str(index) for index in group] for rank, group in enumerate(said.ranking, 1)}


def _items(data: Row) -> tuple[list[str], list[Answer]]:
    given = data.get("items", data.get("responses", data.get("answers")))
    if given is None and "answer1" in data:
        given = [{"id": str(number), "body": data[f"answer{number}"]} for number in (1, 2) if f"answer{number}" in data]
    if not isinstance(given, list) or not 2 <= len(given) <= MOST_COMPLETIONS:
        raise InvalidRow(f"a task needs 2 to {MOST_COMPLETIONS} `items`")
    ids, answers = [], []
    for index, each in enumerate(given):
        each = {"body": each} if isinstance(each, str) else each
        if not isinstance(each, dict):
            raise InvalidRow("an item is no object")
        text = next((each[name] for name in ("body", "text", "html", "title") if name in each), None)
        model = each.get("model")
        ids.append(name_of(each.get("id", str(index)), "an item's id"))
        named = "" if model is None else name_of(model, "a model")
        answers.append(Answer(text_of(text, "an item"), named, each.get("finished") is not False))
    if len(set(ids)) < len(ids):
        raise InvalidRow("two items have the same id")
    return ids, answers


def _said(annotation: Row, ids: list[str]) -> Said | None:
    by = annotation.get("completed_by")
    name = name_of(by.get("email", by.get("id")) if isinstance(by, dict) else by)
    ranking: list[list[int]] | None = None
    note = ""
    results = annotation.get("result")
    for each in results if isinstance(results, list) else []:
        value = each.get("value") if isinstance(each, dict) else None
        if not isinstance(value, dict):
            raise InvalidRow("a result has no value")
        if "ranker" in value:
            ranking = _ranked(value["ranker"], ids)
        elif ranking is None and len(ids) == 2 and (said := value.get("selected", value.get("choices"))) is not None:
            ranking = _chosen(said, ids)
        elif each.get("type") == "textarea" and isinstance(value.get("text"), list):
            note = "\n".join(text for text in value["text"] if isinstance(text, str))[:4000]
    return None if ranking is None else Said(annotator=name, ranking=ranking, note=note)


def _ranked(given: Any, ids: list[str]) -> list[list[int]] | None:
    if isinstance(given, dict):
        named = {name: members for name, members in given.items() if name != "_"}
        if len(named) == 1 and not next(iter(named)).isdigit():
            given = next(iter(named.values()))  # a ranker without buckets names its list after itself
        else:
            order = sorted(named, key=lambda name: (_number(name), list(named).index(name)))
            given = [named[name] for name in order]
            return _indices(given, ids)
    if not isinstance(given, list):
        raise InvalidRow("a ranker's value is neither an order nor buckets")
    return _indices([[each] for each in given], ids)


def _indices(groups: list[Any], ids: list[str]) -> list[list[int]] | None:
    named = [str(each) for group in groups if isinstance(group, list) for each in group]
    if any(each not in ids for each in named) or len(set(named)) < len(named):
        raise InvalidRow("a ranker names an item twice, or one that is not there")
    ranking = [sorted(ids.index(str(each)) for each in group) for group in groups if isinstance(group, list) and group]
    return ranking if len(named) > 1 else None


def _chosen(given: Any, ids: list[str]) -> list[list[int]] | None:
    word = given[0] if isinstance(given, list) and len(given) == 1 else given
    if not isinstance(word, str):
        return None
    said = word.strip().casefold()
    if said in LEFT or said == ids[0].casefold():
        return [[0], [1]]
    if said in RIGHT or said == ids[1].casefold():
        return [[1], [0]]
    return [[0, 1]] if said in TIES else None


def _number(name: str) -> int:
    found = re.search(r"\d+", name)
    return int(found[0]) if found else 10**9
