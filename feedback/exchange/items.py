"""What every format is turned into and made of: one prompt, its completions, and what people said of them.

Knows rankings, pairs and how the one becomes the other; does not know files or any format's words.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

import msgspec

from feedback import labels
from feedback.errors import InvalidRow
from feedback.records import Message, Outcome, Split

MOST_COMPLETIONS = 9
"""Most completions of one comparison (the paper's K); larger groups are taken apart into pairs."""
MOST_CHARS = 200_000
"""Longest text of a row."""
NOBODY = "unknown"
"""Annotator of a judgement that names none."""


class Answer(msgspec.Struct, frozen=True):
    """One completion."""

    text: str
    model: str = ""
    finished: bool = True


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What one annotator said of the completions of an item."""

    annotator: str
    ranking: list[list[int]]
    """Tie groups of completion indices, best first; what is absent was not compared."""
    outcome: Outcome = "ranked"
    quality: list[int] = []
    """1 to 7 per completion; empty if not asked."""
    flags: dict[str, list[int]] = {}
    """Flag -> completions that it applies to."""
    note: str = ""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison with everything that was said of it."""

    id: str = ""
    messages: list[Message]
    answers: list[Answer]
    said: list[Said]
    customer: str = ""
    split: Split | None = None
    group: str = ""
    """Labeler group; of imported items always ``imported``."""


class Judgement(NamedTuple):
    """One annotator's word on one pair."""

    a: int
    b: int
    winner: str
    """``a``, ``b`` or ``tie``."""
    annotator: str


def text_of(value: Any, what: str) -> str:
    """Return a text of a row.

    Raises:
        InvalidRow: it is no text, or too long.
    """
    if not isinstance(value, str):
        raise InvalidRow(f"{what} is no text")
    if len(value) > MOST_CHARS:
        raise InvalidRow(f"{what} has {len(value)} characters, at most {MOST_CHARS} are taken")
    return value


def messages_of(row: dict[str, Any]) -> list[Message]:
    """Return the conversation of a row: its ``messages``, or its ``prompt`` as one user's turn.

    Raises:
        InvalidRow: there is neither, or a turn is empty or nobody's.
    """
    given = row.get("messages") or row.get("prompt")
    turns = turns_of([{"role": "user", "content": given}] if isinstance(given, str) else given)
    if not turns:
        raise InvalidRow("no prompt")
    if not all(turn.content.strip() for turn in turns):
        raise InvalidRow("the prompt is empty")
    return turns


def turns_of(given: Any) -> list[Message]:
    """Return the turns of a list of messages, which may say nothing; none for what is no list.

    Raises:
        InvalidRow: a turn is nobody's, or no text.
    """
    turns = []
    for turn in given if isinstance(given, list) else []:
        if not isinstance(turn, dict) or turn.get("role") not in ("system", "user", "assistant"):
            raise InvalidRow("a message has no role of system, user or assistant")
        turns.append(Message(role=turn["role"], content=text_of(turn.get("content"), "a message")))
    return turns


def name_of(value: Any, what: str = "an annotator") -> str:
    """Return a name as text, `NOBODY` if there is none.

    Raises:
        InvalidRow: it is neither text nor a number.
    """
    if value is None or value == "":
        return NOBODY
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidRow(f"{what} is no name")
    name = str(value)
    if len(name) > 200 or not name.isprintable():
        raise InvalidRow(f"{what} is no name")
    return name


def customer_of(row: dict[str, Any]) -> str:
    """Return the customer that a row names, empty if none.

    Raises:
        InvalidRow: it is no name.
    """
    given = row.get("customer")
    return "" if given in (None, "") else name_of(given, "`customer`")


def split_of(row: dict[str, Any]) -> Split | None:
    """Return the split that a row names, None if none.

    Raises:
        InvalidRow: it is no split.
    """
    given = row.get("split") or None
    if given not in (None, "train", "valid", "test"):
        raise InvalidRow("`split` is none of train, valid, test")
    return cast(Split | None, given)


def ranking_of(judgements: Iterable[Judgement]) -> list[list[int]] | None:
    """Return the tie groups that one annotator's judgements say, best first; None if no order says the same.

    Every pair of the completions that they named must be judged, once, and nothing may go in a circle.
    """
    winners: dict[tuple[int, int], int] = {}
    points: defaultdict[int, int] = defaultdict(int)
    for a, b, winner, _ in judgements:
        gain = {"a": 1, "b": -1, "tie": 0}[winner]
        if (a, b) in winners:
            return None
        winners[a, b], winners[b, a] = gain, -gain
        points[a] += gain
        points[b] -= gain
    for a in points:
        for b in points:
            if a != b and winners.get((a, b)) != (points[a] > points[b]) - (points[a] < points[b]):
                return None
    levels = sorted(set(points.values()), reverse=True)
    return [sorted(index for index in points if points[index] == level) for level in levels]


def judgements_of(item: Item) -> Iterator[Judgement]:
    """Yield everything that an item says, pair by pair."""
    for said in item.said:
        for a, b, winner in labels.pairs(said.ranking):
            yield Judgement(a, b, winner, said.annotator)


def items_of(whole: Item, judgements: list[Judgement]) -> Iterator[Item]:
    """Yield a row's judgements as items: one if they are rankings, else one for every pair.

    Rankings of up to nine completions stay together, so that all their pairs are one batch element. What several
    annotators said of the same pair stays together too. Who contradicts themselves on a pair is not heard on it.
    """
    by_name: defaultdict[str, list[Judgement]] = defaultdict(list)
    for each in judgements:
        by_name[each.annotator].append(each)
    rankings = {name: ranking_of(said) for name, said in by_name.items()}
    if len(whole.answers) <= MOST_COMPLETIONS and None not in rankings.values():
        said = [Said(annotator=name, ranking=ranking) for name, ranking in rankings.items() if ranking]
        yield msgspec.structs.replace(whole, said=said)
        return
    by_pair: defaultdict[tuple[int, int], dict[str, set[str]]] = defaultdict(dict)
    for a, b, winner, name in judgements:
        if (b, a) in by_pair:
            a, b, winner = b, a, {"a": "b", "b": "a", "tie": "tie"}[winner]
        by_pair[a, b].setdefault(name, set()).add(winner)
    for (a, b), heard in by_pair.items():
        said = [
            Said(annotator=name, ranking={"a": [[0], [1]], "b": [[1], [0]], "tie": [[0, 1]]}[winners.pop()])
            for name, winners in heard.items()
            if len(winners) == 1
        ]
        if said:
            yield msgspec.structs.replace(
                whole, id=f"{whole.id}:{a}-{b}", answers=[whole.answers[a], whole.answers[b]], said=said
            )
