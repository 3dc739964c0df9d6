"""Texts of rows: what is made harmless, and what no row may hold. Pure functions of plain rows.

Control characters and marks that turn the direction of writing are taken out, spellings of control tokens broken up.
What cannot be mended is a reason to leave the row out.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from feedback import inert

MOST_CHARS = 200_000
"""Longest text of a row, in characters; far above what any policy here reads or writes."""
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff]")
"""Control characters other than tabulator and line ends, and the byte order mark."""
TURNS = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
"""Marks that override the direction of writing: what is read is not what stands there."""
LOOK_ALIKE = re.compile(r"[A-Za-z][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]")
"""Latin and Cyrillic letters side by side in a word: the usual disguise of a trigger word."""
MENDS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("control characters", partial(CONTROLS.sub, "")),
    ("direction marks", partial(TURNS.sub, "")),
    ("control tokens", inert.quiet),
)
"""What is done to every text, in this order."""
Row = dict[str, Any]


def tidy(text: str) -> tuple[str, list[str]]:
    """Return a text made harmless, and which of `MENDS` changed it."""
    done = []
    for name, mend in MENDS:
        mended = mend(text)
        if mended != text:
            done.append(name)
        text = mended
    return text, done


def fault(text: str) -> str:
    """Return why a text cannot be mended, or an empty string."""
    if len(text) > MOST_CHARS:
        return "too long"
    return "look-alike letters" if LOOK_ALIKE.search(text) else ""


def clean(row: Row) -> tuple[Row, list[str], str]:
    """Return a row with its texts made harmless, what was done, and why it cannot be used (empty if it can).

    Completions without a word, and judgements between completions that say the same, are taken out of the row.
    """
    why = next(filter(None, map(fault, _texts(row))), "")
    if why:
        return row, [], why
    done: set[str] = set()

    def quiet(text: str) -> str:
        said, what = tidy(text)
        done.update(what)
        return said

    row = {**row, "messages": [{**turn, "content": quiet(turn["content"])} for turn in row["messages"]]}
    if not row["messages"] or not all(turn["content"].strip() for turn in row["messages"]):
        return row, [], "empty prompt"
    if "response" in row:
        row["response"] = quiet(row["response"])
        why = "" if row["response"].strip() else "empty response"
    if "responses" in row:
        row["responses"] = [{**each, "text": quiet(each["text"])} for each in row["responses"]]
        row, why = _comparable(row, done)
    return row, sorted(done), why


def key_of(messages: list[dict[str, str]]) -> str:
    """Return the text under which two prompts count as the same: case and white space do not matter."""
    return " ".join(word for turn in messages for word in (f"{turn['role']}:", *turn["content"].casefold().split()))


def _comparable(row: Row, done: set[str]) -> tuple[Row, str]:
    """Take out what cannot be compared; return the row and why nothing is left to learn."""
    texts = [each["text"].strip() for each in row["responses"]]
    places = {old: new for new, old in enumerate(old for old, text in enumerate(texts) if text)}
    if len(places) < 2:
        return row, "empty completions"
    if len({texts[place] for place in places}) < 2:
        return row, "equal completions"
    judged = [
        {**each, "a": places[each["a"]], "b": places[each["b"]]}
        for each in row["comparisons"]
        if each["a"] in places and each["b"] in places and texts[each["a"]] != texts[each["b"]]
    ]
    if len(places) < len(texts):
        done.add("empty completions")
    if len(judged) < sum(each["a"] in places and each["b"] in places for each in row["comparisons"]):
        done.add("judgements between equal completions")
    row = {**row, "responses": [row["responses"][place] for place in places], "comparisons": judged}
    return row, "" if any(each["winner"] != "tie" for each in judged) else "nothing to learn"


def _texts(row: Row) -> Iterator[str]:
    yield from (turn["content"] for turn in row["messages"])
    yield from (each["text"] for each in row.get("responses", []))
    yield row.get("response", "")
