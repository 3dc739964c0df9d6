"""From the ledger into rows of a format: every label that counts, comparison by comparison, in the order of their ids.

What is held in memory is one page of comparisons and the ids of the labels, never all texts. Erased words are gone,
those whose consent is withdrawn stay here, and what was never masked is masked on its way out.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from typing import cast

import msgspec

from feedback import access, comparisons, keys, labels, prompts, tombstones
from feedback.client import Ledger, decode
from feedback.errors import ConfigError
from feedback.exchange.formats import FORMATS
from feedback.exchange.items import Answer, Item, Said
from feedback.records import Comparison, Label, Purpose
from feedback.snapshots.rows import masked

PAGE = 200
"""Comparisons in memory at a time."""


def export(ledger: Ledger, format: str = "whetstone", purposes: tuple[Purpose, ...] = ("training",)) -> Iterator[bytes]:
    """Return the bytes of an export, piece by piece.

    Args:
        ledger: where from.
        format: one of `FORMATS` that can be written.
        purposes: of the comparisons that go out.

    Raises:
        ConfigError: no such format; raised at once, before the first piece is asked for.
    """
    known = FORMATS.get(format)
    if known is None or known.write is None:
        writable = ", ".join(name for name, each in FORMATS.items() if each.write)
        raise ConfigError(f"format {format!r} cannot be written; choose one of {writable}")
    rows = (msgspec.json.encode(row) for item in items(ledger, purposes) for row in known.write(item))
    return _array(rows) if known.array else (row + b"\n" for row in rows)


def items(ledger: Ledger, purposes: tuple[Purpose, ...] = ("training",)) -> Iterator[Item]:
    """Yield every labelled comparison of these purposes with what counts of what was said of it."""
    entries = _index(ledger)
    erased, withdrawn = tombstones.read(ledger), access.withdrawn(ledger)
    asked_under = {each.id: each.key_id for each in prompts.all_prompts(ledger)}
    ids = iter(sorted(entries))
    while page := list(islice(ids, PAGE)):
        said = _read(ledger, [entry for id in page for entry in entries[id]])
        for id, comparison in zip(page, comparisons.get_many(ledger, page), strict=True):
            if comparison is None or comparison.purpose not in purposes or id in erased.comparisons:
                continue
            key_id = comparison.key_id or asked_under.get(comparison.prompt_id, "")
            gone = erased.cover_derived(comparison.customer, comparison.created_at)
            if not gone and not withdrawn.covers(comparison.customer, key_id):
                yield from _items(comparison, [said[entry] for entry in entries[id] if entry in said])


def _index(ledger: Ledger) -> dict[str, list[str]]:
    """Return comparison id -> stream entries of the last revision of each label on it, in order of the labels' ids."""
    last: dict[str, tuple[int, str, str]] = {}
    for entry, label in labels.read(ledger):
        root = label.revision_of or label.id
        if root not in last or label.revision > last[root][0]:
            last[root] = (label.revision, label.comparison_id, entry)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for root in sorted(last):
        _, comparison_id, entry = last[root]
        found[comparison_id].append(entry)
    return found


def _read(ledger: Ledger, entries: list[str]) -> dict[str, Label]:
    with ledger.reach() as client, client.pipeline(transaction=False) as line:
        for entry in entries:
            line.xrange(keys.LABELS, entry, entry)
        replies = cast(list[list[tuple[str, dict[str, str]]]], line.execute())
    return {id: decode(fields["record"], Label) for reply in replies for id, fields in reply}


def _items(comparison: Comparison, given: list[Label]) -> Iterator[Item]:
    """Yield the item of a comparison, one per labeler group: a row of ours says of which group its words are."""
    groups = Counter(label.labeler_group for label in given)
    for group in sorted(groups):
        shown = masked(comparison, group)
        yield Item(
            id=comparison.id,
            messages=shown.messages,
            answers=[Answer(each.text, each.policy_version, each.finished) for each in shown.completions],
            said=[
                Said(
                    annotator=label.labeler,
                    ranking=label.ranking,
                    outcome=label.outcome,
                    quality=label.quality,
                    flags=label.flags,
                    note=label.note,
                )
                for label in given
                if label.labeler_group == group
            ],
            customer=comparison.customer,
            split=comparison.split,
            group=group,
        )


def _array(rows: Iterator[bytes]) -> Iterator[bytes]:
    """Yield rows as one JSON array, an element a line."""
    yield b"["
    for number, row in enumerate(rows):
        yield (b",\n" if number else b"\n") + row
    yield b"\n]\n"
