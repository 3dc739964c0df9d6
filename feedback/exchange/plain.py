"""Our own formats: pairwise comparisons (the schema of the published sets), rankings, and scores. Pure."""

from collections.abc import Iterator
from typing import Any, cast

import msgspec

from feedback.errors import InvalidRow
from feedback.exchange.items import (
    MOST_COMPLETIONS,
    Answer,
    Item,
    Judgement,
    Said,
    customer_of,
    items_of,
    judgements_of,
    messages_of,
    name_of,
    split_of,
    text_of,
)
from feedback.records import Outcome

MOST_RESPONSES = 1000
Row = dict[str, Any]


def write(item: Item) -> Iterator[Row]:
    """Yield the row of an item with its judgements pair by pair; the rest is in ``meta.said``, by annotator."""
    judged = [
        {"a": a, "b": b, "winner": winner, "annotator": annotator} for a, b, winner, annotator in judgements_of(item)
    ]
    more = {said.annotator: extra for said in item.said if (extra := _extra(said))}
    yield {**_shared(item), "comparisons": judged, **({"meta": {"said": more}} if more else {})}


def read(row: Row) -> Iterator[Item]:
    """Yield the items of a row of pairwise comparisons, or of one whose responses have ranks (0 is best).

    Raises:
        InvalidRow: a field is missing or wrong; says which.
    """
    item = _item(row)
    judgements = _judgements(row, len(item.answers))
    meta = row.get("meta")
    more = meta.get("said") if isinstance(meta, dict) else None
    for each in items_of(item, judgements):
        whole = len(each.answers) == len(item.answers)
        yield _with_more(each, more) if isinstance(more, dict) and whole else each


def write_rankings(item: Item) -> Iterator[Row]:
    """Yield one row per annotator: the completions and their tie groups, best first."""
    for said in item.said:
        yield {**_shared(item), "ranking": said.ranking, "annotator": said.annotator, **_extra(said)}


def read_rankings(row: Row) -> Iterator[Item]:
    """Yield the item of one annotator's ranking.

    Raises:
        InvalidRow: a field is missing or wrong; says which.
    """
    item = _item(row)
    k = len(item.answers)
    if k > MOST_COMPLETIONS:
        raise InvalidRow(f"{k} responses, at most {MOST_COMPLETIONS} can be ranked together")
    said = Said(annotator=name_of(row.get("annotator")), ranking=_groups(row.get("ranking"), k))
    yield msgspec.structs.replace(item, said=[_with_extra(said, row, k)])


def write_scores(item: Item) -> Iterator[Row]:
    """Yield one row per annotator and completion that has a score."""
    for said in item.said:
        for index, score in enumerate(said.quality):
            yield {
                "comparison_id": item.id,
                "messages": msgspec.to_builtins(item.messages),
                "completion": item.answers[index].text,
                "model": item.answers[index].model,
                "score": score,
                "annotator": said.annotator,
                "split": item.split,
            }


def _shared(item: Item) -> Row:
    return {
        "id": item.id,
        "messages": msgspec.to_builtins(item.messages),
        "responses": [
            {"text": each.text, "model": each.model, **({} if each.finished else {"finished": False})}
            for each in item.answers
        ],
        "customer": item.customer,
        "split": item.split,
        "labeler_group": item.group,
    }


def _item(row: Row) -> Item:
    answers = row.get("responses")
    if not isinstance(answers, list) or not 2 <= len(answers) <= MOST_RESPONSES:
        raise InvalidRow(f"`responses` must be a list of 2 to {MOST_RESPONSES}")
    return Item(
        id=name_of(row.get("id"), "`id`"),
        messages=messages_of(row),
        answers=[_answer(each) for each in answers],
        said=[],
        customer=customer_of(row),
        split=split_of(row),
    )


def _answer(given: Any) -> Answer:
    if not isinstance(given, dict):
        raise InvalidRow("a response is no object")
    finished = given.get("finished", True)
    model = given.get("model")
    if not isinstance(finished, bool):
        raise InvalidRow("`finished` of a response is neither true nor false")
    return Answer(
        text_of(given.get("text"), "a response"), "" if model is None else name_of(model, "`model`"), finished
    )


def _judgements(row: Row, k: int) -> list[Judgement]:
    given = row.get("comparisons")
    if given is None:
        return _by_rank(row["responses"])
    if not isinstance(given, list):
        raise InvalidRow("`comparisons` is no list")
    return [_judgement(each, k) for each in given]


def _judgement(given: Any, k: int) -> Judgement:
    if not isinstance(given, dict):
        raise InvalidRow("a comparison is no object")
    a, b, winner = given.get("a"), given.get("b"), given.get("winner")
    for index in (a, b):
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < k:
            raise InvalidRow(f"a comparison names response {index!r} of {k}")
    if a == b:
        raise InvalidRow("a response is compared with itself")
    if winner not in ("a", "b", "tie"):
        raise InvalidRow("`winner` is none of a, b, tie")
    return Judgement(cast(int, a), cast(int, b), cast(str, winner), name_of(given.get("annotator")))


def _by_rank(answers: list[Row]) -> list[Judgement]:
    ranks = [each.get("rank") for each in answers]
    if not all(isinstance(rank, int) and not isinstance(rank, bool) for rank in ranks):
        raise InvalidRow("neither `comparisons` nor a whole number as `rank` of every response")
    known = cast(list[int], ranks)
    pairs = ((a, b) for a in range(len(known)) for b in range(a + 1, len(known)))
    return [
        Judgement(a, b, "tie" if known[a] == known[b] else "ab"[known[a] > known[b]], name_of(None)) for a, b in pairs
    ]


def _groups(given: Any, k: int) -> list[list[int]]:
    try:
        groups = msgspec.convert(given, list[list[int]])
    except msgspec.ValidationError as error:
        raise InvalidRow(f"`ranking` is no list of tie groups: {error}") from error
    named = [index for group in groups for index in group]
    if len(named) < 2 or len(set(named)) < len(named) or not all(groups) or any(not 0 <= each < k for each in named):
        raise InvalidRow(f"`ranking` must hold at least two of 0..{k - 1}, each at most once, in groups")
    return groups


def _quality(given: Any, k: int) -> list[int]:
    try:
        scores = msgspec.convert(given, list[int])
    except msgspec.ValidationError as error:
        raise InvalidRow(f"`quality` is no list of whole numbers: {error}") from error
    if scores and (len(scores) != k or any(not 1 <= each <= 7 for each in scores)):
        raise InvalidRow(f"`quality` must hold {k} numbers from 1 to 7")
    return scores


def _outcome(given: Any) -> Outcome:
    if given not in ("ranked", "all_bad", "all_good"):
        raise InvalidRow("`outcome` is none of ranked, all_bad, all_good")
    return cast(Outcome, given)


def _flags(given: Any, k: int) -> dict[str, list[int]]:
    try:
        flags = msgspec.convert(given, dict[str, list[int]])
    except msgspec.ValidationError as error:
        raise InvalidRow(f"`flags` does not map names to lists of responses: {error}") from error
    if any(not 0 <= index < k for indices in flags.values() for index in indices):
        raise InvalidRow(f"`flags` names a response that is not among {k}")
    return {name_of(name, "a flag"): indices for name, indices in flags.items()}


def _extra(said: Said) -> Row:
    """Return what somebody said beside the order."""
    outcome = "" if said.outcome == "ranked" else said.outcome
    every = {"outcome": outcome, "quality": said.quality, "flags": said.flags, "note": said.note}
    return {name: value for name, value in every.items() if value}


def _with_extra(said: Said, given: Any, k: int) -> Said:
    if not isinstance(given, dict):
        raise InvalidRow("`meta.said` holds something that is no object")
    return msgspec.structs.replace(
        said,
        outcome=_outcome(given.get("outcome", "ranked")),
        quality=_quality(given.get("quality", []), k),
        flags=_flags(given.get("flags", {}), k),
        note=text_of(given.get("note", ""), "note"),
    )


def _with_more(item: Item, more: Row) -> Item:
    k = len(item.answers)
    said = [_with_extra(each, more.get(each.annotator, {}), k) for each in item.said]
    return msgspec.structs.replace(item, said=said)
