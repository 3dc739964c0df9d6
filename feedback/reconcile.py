"""Reconcile: hold the ledger's answers against their second copy, and write back what the ledger lost.

Compares record by record, by id and content; what an erasure removed or changed is known and is no difference. Knows
no way of its own to decide who is right where the two differ: that is said, and a person decides.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from feedback import archives, copies, demonstrations, keys, labels, segments, submissions, tombstones, votes
from feedback.client import Ledger, decode, encode
from feedback.copies import SOURCES, Source
from feedback.errors import ArtifactCorrupt, Conflict
from feedback.records import Comparison, Demonstration, Label, Record
from feedback.segments import order
from feedback.submissions import Lost
from feedback.tombstones import Tombstones

PAGE = 500
"""Records written back together: one flush to disk for all of them."""


class Finding(msgspec.Struct, kw_only=True):
    """How one kind of record fares in both places; lists hold record ids."""

    name: str
    in_ledger: int = 0
    in_copy: int = 0
    waiting: int = 0
    """In the ledger, and too young to be in the copy."""
    erased: int = 0
    """In one of the two only, because an erasure is under way."""
    lost: list[str] = []
    """In the copy and not in the ledger."""
    uncopied: list[str] = []
    """In the ledger, older than the copy's end, and not in it."""
    different: list[str] = []
    """In both, and not the same."""
    duplicated: list[str] = []
    """Several times in the ledger."""
    damage: list[str] = []
    """Segments that cannot be read or are missing, in words."""

    @property
    def agrees(self) -> bool:
        """Tell whether nothing is lost, uncopied, different, duplicated or damaged."""
        return not (self.lost or self.uncopied or self.different or self.duplicated or self.damage)


def compare(ledger: Ledger, root: Path) -> list[Finding]:
    """Compare each stream of answers with the segments under ``root``/archive.

    Raises:
        LedgerUnavailable: the ledger is down.
    """
    erased = tombstones.read(ledger)
    return [_compare(ledger, root / "archive" / name, name, source, erased) for name, source in SOURCES.items()]


def restore(ledger: Ledger, root: Path) -> dict[str, int]:
    """Write back into the ledger what only the copy has; return name -> records. May be repeated.

    Records keep their entry where the stream allows it, so that nothing is copied a second time. A submission that is
    sent again is recognised as before.

    Raises:
        Conflict: another process writes there now.
        ArtifactCorrupt: a segment is damaged; what could be read before it was restored.
    """
    done: dict[str, int] = {}
    with copies.alone(root) as directory:
        if directory is None:
            raise Conflict("the copy is being written now; try again in a moment")
        erased = tombstones.read(ledger)
        for name, source in SOURCES.items():
            missing = _missing(ledger, directory / name, source, erased)
            while page := list(islice(missing, PAGE)):
                done[name] = done.get(name, 0) + len(submissions.put_back(ledger, source.stream, page))
        done[copies.COMPARISONS] = _comparisons(ledger, directory / copies.COMPARISONS, erased)
    return {name: count for name, count in done.items() if count}


def _compare(ledger: Ledger, directory: Path, name: str, source: Source, erased: Tombstones) -> Finding:
    found = Finding(name=name, damage=archives.faults(directory))
    copied = _copied(directory, source, erased)
    found.in_copy = len(copied)
    end = order(end) if (end := archives.cursor(directory)) != "-" else (-1, 0)
    seen: set[str] = set()
    for entry_id, record in copies.stream(ledger, source):
        found.in_ledger += 1
        if record.id in seen:
            found.duplicated.append(record.id)
        seen.add(record.id)
        theirs = copied.get(record.id)
        if theirs is None and not copies.wanted(record, erased):
            found.erased += 1
        elif theirs is None and order(entry_id) > end:
            found.waiting += 1
        elif theirs is None:
            found.uncopied.append(record.id)
        elif theirs != encode(copies.as_erased(record, erased)):
            found.different.append(record.id)
    for id, text in copied.items():
        if id in seen:
            continue
        if copies.wanted(decode(text, source.kind), erased):
            found.lost.append(id)
        else:
            found.erased += 1
    return found


def _copied(directory: Path, source: Source, erased: Tombstones) -> dict[str, str]:
    """Return id -> record (JSON), as an erasure would leave it, of every segment that can be read."""
    copied: dict[str, str] = {}
    for path in archives.segments(directory):
        try:
            for row in segments.read(path)[0]:
                record: Any = copies.as_erased(decode(row.record, source.kind), erased)
                copied[record.id] = encode(record)
        except ArtifactCorrupt:  # said by `archives.faults`
            continue
    return copied


def _missing(ledger: Ledger, directory: Path, source: Source, erased: Tombstones) -> Iterator[Lost]:
    """Yield what only the copy has, oldest first, each record once."""
    known = {record.id for _, record in ledger.stream(source.stream, source.kind)}
    for row in archives.read(directory):
        record = copies.as_erased(decode(row.record, source.kind), erased)
        if record.id not in known and copies.wanted(record, erased):
            known.add(record.id)
            yield Lost(record, row.entry_id, *_submitted(record))


def _submitted(record: Record) -> tuple[str, str]:
    """Return the item that a labeler's submission answers and the digest of what it says; nothing for other records."""
    if isinstance(record, Label) and record.labeler_group != votes.GROUP:
        return record.comparison_id, labels.substance(record)
    if isinstance(record, Demonstration) and record.source != "few_shot":
        return demonstrations.item_of(record), demonstrations.substance(record)
    return "", ""


def _comparisons(ledger: Ledger, directory: Path, erased: Tombstones) -> int:
    rows = (row.record for row in archives.read(directory))
    wanted = ((decode(text, Comparison), text) for text in rows)
    kept = ((record.id, text) for record, text in wanted if copies.wanted(record, erased))
    count = 0
    while page := list(islice(kept, PAGE)):
        with ledger.reach() as client, client.pipeline(transaction=False) as line:
            for id, text in page:
                line.set(keys.comparison(id), text, nx=True)
            count += sum(bool(each) for each in line.execute())
    return count
