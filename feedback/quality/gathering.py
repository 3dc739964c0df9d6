"""The latest labels with what was shown to their labelers, read from the ledger a window at a time.

Knows where labels and comparisons are; draws no conclusion from them.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, cast

from feedback import comparisons, keys, submissions, votes
from feedback.client import Ledger, decode
from feedback.quality.biases import Shown
from feedback.records import Label, Purpose

MOST_PAGES = 50
"""How many windows far is looked behind labels that were imported."""
IMPORTED = '"labeler_group":"imported"'
"""In the JSON of every label that somebody gave elsewhere; no text of a record can hold it unescaped."""
PAGE = 200
"""Comparisons read at a time; each holds all of its texts."""


class Facts(NamedTuple):
    """What is to be known of a comparison without its texts."""

    words: list[int]
    """Words of each completion."""
    purpose: Purpose
    subject: str
    """The comparison itself, or the one that it repeats."""
    language: str
    overlap: int = 1
    """How many labelers are asked."""


class Given(NamedTuple):
    """One label as it counts now, with its comparison."""

    label: Label
    facts: Facts

    @property
    def shown(self) -> Shown:
        """The label with the words that stood before the labeler."""
        return Shown(self.label, self.facts.words)


class Window(NamedTuple):
    """The latest labels, oldest first."""

    given: list[Given]
    through: str
    """Last entry of the log that was read; empty if there is none."""

    def of_people(self) -> dict[str, list[Given]]:
        """Return labeler -> labels, checks included."""
        found: dict[str, list[Given]] = defaultdict(list)
        for each in self.given:
            found[each.label.labeler].append(each)
        return dict(found)

    def of_items(self) -> dict[str, list[Given]]:
        """Return comparison -> labels, one per labeler: a gold check counts as a label of what it repeats.

        A labeler's second look at an item of their own does not count.
        """
        found: dict[str, dict[str, Given]] = defaultdict(dict)
        for each in self.given:
            if each.facts.purpose != "repeat":
                found[each.facts.subject].setdefault(each.label.labeler, each)
        return {item: list(given.values()) for item, given in found.items()}


def last_entry(ledger: Ledger) -> str:
    """Return the id of the last entry of the log of labels; empty if there is none."""
    with ledger.reach() as client:
        found = cast(list[tuple[str, dict[str, str]]], client.xrevrange(keys.LABELS, count=1))
    return found[0][0] if found else ""


def gather(ledger: Ledger, most: int, known: dict[str, Facts] | None = None) -> Window:
    """Return what the last ``most`` entries of the log of labels say now.

    Labels of erased comparisons and customers' votes are left out: who votes is no labeler.

    Args:
        ledger: where they are.
        most: entries.
        known: facts of earlier windows; what this one needs is added, what it does not need is dropped.
    """
    facts = {} if known is None else known
    through = last_entry(ledger)
    entries = _last(ledger, most)
    decoded = [(entry_id, decode(fields["record"], Label)) for entry_id, fields in reversed(entries)]
    labels = [label for _, label in submissions.latest(decoded) if label.labeler_group != votes.GROUP]
    wanted = {label.comparison_id for label in labels}
    for id in facts.keys() - wanted:
        del facts[id]
    _learn(ledger, sorted(wanted - facts.keys()), facts)
    given = [Given(label, facts[label.comparison_id]) for label in labels if label.comparison_id in facts]
    return Window(given, through)


def _last(ledger: Ledger, most: int) -> list[tuple[str, dict[str, str]]]:
    """Return the last entries of people who label here, newest first; imported labels are nobody's work."""
    found: list[tuple[str, dict[str, str]]] = []
    end = "+"
    for _ in range(MOST_PAGES):
        with ledger.reach() as client:
            page = cast(list[tuple[str, dict[str, str]]], client.xrevrange(keys.LABELS, end, count=most))
        found += [entry for entry in page if IMPORTED not in entry[1]["record"]]
        if len(page) < most or len(found) >= most:
            break
        end = f"({page[-1][0]}"
    return found[:most]


def _learn(ledger: Ledger, ids: list[str], facts: dict[str, Facts]) -> None:
    for start in range(0, len(ids), PAGE):
        page = ids[start : start + PAGE]
        for id, found in zip(page, comparisons.get_many(ledger, page), strict=True):
            if found is not None:
                words = [len(each.text.split()) for each in found.completions]
                facts[id] = Facts(words, found.purpose, found.check_of or id, found.language, found.overlap)


def today(given: Iterable[Given], now: datetime) -> int:
    """Return how many labels were given on the UTC day of ``now``."""
    return sum(each.label.created_at.date() == now.date() for each in given)
