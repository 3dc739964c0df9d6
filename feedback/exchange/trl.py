"""TRL's preference rows: chosen and rejected, standard (texts) and conversational (messages). Pure.

One row per strict pair; the rows of one prompt follow each other and share ``comparison_id``. ``margin`` is how many
tie groups lie between the two. The format has no ties and no rankings: reading gives pairs.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from feedback.errors import InvalidRow
from feedback.exchange.items import Answer, Item, Said, messages_of, name_of, text_of, turns_of
from feedback.records import Message

Row = dict[str, Any]


def write(item: Item) -> Iterator[Row]:
    """Yield standard rows; a conversation of several turns becomes one text with its roles."""
    prompt = plain_text(item.messages)
    for better, worse, extra in _pairs(item):
        yield {"prompt": prompt, "chosen": better, "rejected": worse, **extra}


def write_conversational(item: Item) -> Iterator[Row]:
    """Yield conversational rows."""
    prompt = msgspec.to_builtins(item.messages)
    for better, worse, extra in _pairs(item):
        chosen, rejected = ([{"role": "assistant", "content": text}] for text in (better, worse))
        yield {"prompt": prompt, "chosen": chosen, "rejected": rejected, **extra}


def read(row: Row) -> Iterator[Item]:
    """Yield the pair of a row, standard or conversational, with an explicit prompt or one that both sides begin with.

    Raises:
        InvalidRow: a field is missing or wrong; says which.
    """
    chosen, rejected = row.get("chosen"), row.get("rejected")
    messages = messages_of({"prompt": row["prompt"]}) if "prompt" in row else []
    if isinstance(chosen, list) and isinstance(rejected, list):
        better, worse = turns_of(chosen), turns_of(rejected)
        if not messages:
            messages, better, worse = _common(better, worse)
        if any(len(side) != 1 or side[0].role != "assistant" for side in (better, worse)):
            raise InvalidRow("`chosen` and `rejected` must each end in one turn of the assistant")
        texts = better[0].content, worse[0].content
    else:
        texts = text_of(chosen, "`chosen`"), text_of(rejected, "`rejected`")
    if not messages:
        raise InvalidRow("no prompt")
    models = (row.get("chosen_model"), row.get("rejected_model"))
    answers = [
        Answer(text, "" if model is None else name_of(model, "a model"))
        for text, model in zip(texts, models, strict=True)
    ]
    said = Said(annotator=name_of(row.get("annotator")), ranking=[[0], [1]])
    yield Item(messages=messages, answers=answers, said=[said])


def plain_text(messages: list[Message]) -> str:
    """Return a conversation as one text: the words alone if there is one turn, else each turn under its role."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{turn.role}: {turn.content}" for turn in messages)


def _pairs(item: Item) -> Iterator[tuple[str, str, Row]]:
    for said in item.said:
        place = {index: group for group, indices in enumerate(said.ranking) for index in indices}
        for better in place:
            for worse in place:
                if place[better] < place[worse]:
                    yield (
                        item.answers[better].text,
                        item.answers[worse].text,
                        {
                            "margin": float(place[worse] - place[better]),
                            "comparison_id": item.id,
                            "annotator": said.annotator,
                            "chosen_model": item.answers[better].model,
                            "rejected_model": item.answers[worse].model,
                            "split": item.split,
                        },
                    )


def _common(better: list[Message], worse: list[Message]) -> tuple[list[Message], list[Message], list[Message]]:
    """Split two conversations into the turns that both begin with and the rest of each."""
    same = 0
    while same < min(len(better), len(worse)) and better[same] == worse[same]:
        same += 1
    return better[:same], better[same:], worse[same:]
