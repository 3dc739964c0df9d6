"""The table of formats: how each is called, written and read.

A writer turns an `Item` into the rows of its format, a reader turns one row into items or ratings; both are pure.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from feedback.exchange import argilla, label_studio, open_webui, plain, trl
from feedback.exchange.items import Item
from feedback.exchange.open_webui import Opinion

Row = dict[str, Any]


class Format(NamedTuple):
    """One format of preference data."""

    title: str
    write: Callable[[Item], Iterator[Row]] | None
    """None for a format that is only read."""
    read: Callable[[Row], Iterator[Item | Opinion]] | None
    """None for a format that is only written."""
    array: bool = False
    """Is a file one JSON array, rather than one JSON object a line? Both are read, whatever a format prefers."""


FORMATS: dict[str, Format] = {
    "whetstone": Format("prompt, responses and pairwise comparisons", plain.write, plain.read),
    "rankings": Format("rankings as tie groups, best first", plain.write_rankings, plain.read_rankings),
    "scores": Format("one row per completion and score (1 to 7)", plain.write_scores, None),
    "trl": Format("TRL: chosen and rejected texts, one row per strict pair", trl.write, trl.read),
    "trl-conversational": Format("TRL: chosen and rejected as lists of messages", trl.write_conversational, trl.read),
    "argilla": Format("Argilla records with a ranking question", argilla.write, argilla.read, array=True),
    "label-studio": Format("Label Studio tasks with a ranker", label_studio.write, label_studio.read, array=True),
    "open-webui": Format("Open WebUI's export of feedback", None, open_webui.read, array=True),
}
"""Name on the command line and in the API -> format."""
