"""From a file into the ledger: comparisons and labels of a named source, each once, however often it is imported.

Imported labels are of the group ``imported`` and of annotators named ``import:<source>:<annotator>``: they train like
others and count as nobody's work. Ids follow from the content, so importing again adds nothing.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from feedback import interactions, keys
from feedback.client import Ledger, encode
from feedback.curation import Rules, split_of
from feedback.errors import ConfigError, InvalidRecord, InvalidRow
from feedback.exchange.formats import FORMATS, Format
from feedback.exchange.items import Item, Said
from feedback.exchange.lines import Bad, objects
from feedback.exchange.open_webui import Opinion
from feedback.records import Comparison, Completion, Label, Rating, utc_now
from feedback.snapshots.caps import IMPORTED

SOURCE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
PREFIX = "import"
MOST_NAMED = 1000
"""Quarantined lines that a summary names; all are counted."""
Labelled = tuple[Comparison, list[Label]]


class Summary(msgspec.Struct, kw_only=True):
    """What became of a file."""

    source: str
    rows: int = 0
    """Lines, or elements of the array, that were read; blank lines are none."""
    comparisons: int = 0
    """Comparisons of which at least one label is new."""
    labels: int = 0
    """New labels."""
    ratings: int = 0
    """New ratings of single answers."""
    known: int = 0
    """Labels and ratings that were there already."""
    erased: int = 0
    """Comparisons that were erased and stay away."""
    quarantined: dict[str, int] = {}
    """Reason -> how many rows were not used."""
    lines: list[tuple[int, str]] = []
    """(number, reason) of the first `MOST_NAMED` of them."""

    def reject(self, number: int, reason: str) -> None:
        """Count a row that is not used."""
        self.quarantined[reason] = self.quarantined.get(reason, 0) + 1
        if len(self.lines) < MOST_NAMED:
            self.lines.append((number, reason))


def take(
    ledger: Ledger,
    path: Path,
    source: str,
    format: str = "whetstone",
    rules: Rules | None = None,
    progress: Callable[[int], None] = lambda read: None,
) -> Summary:
    """Import a file; return what became of it. May be repeated, also after it was broken off.

    Args:
        ledger: where to.
        path: the file.
        source: name that everything of it gets: lower case letters, digits, dots and dashes.
        format: one of `FORMATS` that can be read.
        rules: of the splits, for rows that name none.
        progress: told how many bytes of the file were read so far.

    Raises:
        ConfigError: no such format, or the source's name cannot be one.
        DataError: the file as a whole cannot be read.
        LedgerUnavailable: Redis went away; import the file again.
    """
    if not SOURCE.fullmatch(source):
        raise ConfigError(f"source {source!r} is no name: use a-z, 0-9, dots and dashes, at most 64")
    known = FORMATS.get(format)
    if known is None or known.read is None:
        readable = ", ".join(name for name, each in FORMATS.items() if each.read)
        raise ConfigError(f"format {format!r} cannot be read; choose one of {readable}")
    summary = Summary(source=source)
    for found in objects(path, progress):
        summary.rows += 1
        if isinstance(found, Bad):
            summary.reject(found.number, found.reason)
            continue
        try:
            records = list(_records(known, found.value, source, rules or Rules()))
        except (InvalidRow, InvalidRecord) as error:
            summary.reject(found.number, str(error))
            continue
        for record in records:
            _store(ledger, record, summary)
    return summary


def comparison_of(item: Item, source: str, rules: Rules) -> Comparison:
    """Return the comparison that an item is; the same content of the same source has the same id."""
    place = f"{PREFIX}:{source}"
    customer = _owned(item.customer, place) if item.customer else place
    # without a customer every prompt goes its own way, or a whole set would fall into one split
    seed = customer if item.customer else f"{place}:{_hash(item.messages)}"
    split = item.split or split_of(seed, rules)
    completions = [
        Completion(
            text=each.text,
            policy_version=_owned(each.model or "unknown", place, "/"),
            seed=0,
            temperature=1.0,
            finished=each.finished,
        )
        for each in item.answers
    ]
    content = [place, split, customer, item.messages, [(each.text, each.policy_version) for each in completions]]
    return Comparison(
        id=f"cmp_{_hash(content)}",
        created_at=utc_now(),
        prompt_id=f"imp_{_hash([place, item.messages])}",
        customer=customer,
        messages=item.messages,
        split=split,
        k=len(completions),
        overlap=max(1, min(20, len(item.said))),
        models=[PREFIX],
        completions=completions,
    )


def label_of(said: Said, comparison: Comparison, source: str) -> Label:
    """Return what one annotator said as a label; the same word has the same id."""
    place = f"{PREFIX}:{source}"
    labeler = _owned(said.annotator, place)
    content = [comparison.id, labeler, said.outcome, said.ranking, said.quality, said.flags, said.note]
    return Label(
        id=f"imp_{_hash(content)}",
        created_at=comparison.created_at,
        comparison_id=comparison.id,
        labeler=labeler,
        labeler_group=IMPORTED,
        outcome=said.outcome,
        ranking=said.ranking,
        quality=said.quality,
        flags=said.flags,
        note=said.note,
    )


def _records(known: Format, row: dict[str, Any], source: str, rules: Rules) -> Iterator[Labelled | Rating]:
    assert known.read is not None
    for found in known.read(row):
        if isinstance(found, Opinion):
            yield _rating(found, source)
            continue
        comparison = comparison_of(found, source, rules)
        encode(comparison)
        yield comparison, [label_of(said, comparison, source) for said in found.said]


def _rating(opinion: Opinion, source: str) -> Rating:
    place = f"{PREFIX}:{source}"
    return Rating(
        id=f"rat_{_hash([place, opinion.id, opinion.who, opinion.rating])}",
        created_at=utc_now(),
        interaction_id=f"{place}:{opinion.about}",
        customer=f"{place}:{opinion.who}",
        rating=opinion.rating,
        reasons=opinion.reasons,
        comment=opinion.comment,
    )


def _store(ledger: Ledger, record: Labelled | Rating, summary: Summary) -> None:
    if isinstance(record, Rating):
        _store_rating(ledger, record, summary)
        return
    comparison, labels = record
    said = [part for label in labels for part in (label.id, encode(label))]
    new = int(
        ledger.run(
            "import",
            [
                keys.comparison(comparison.id),
                keys.LABELS,
                keys.ERASED_COMPARISONS,
                keys.answers(comparison.id),
            ],
            [comparison.id, encode(comparison), *said],
        )
    )
    summary.erased += new < 0
    summary.comparisons += new > 0
    summary.labels += max(0, new)
    summary.known += len(labels) - new if new >= 0 else 0


def _store_rating(ledger: Ledger, rating: Rating, summary: Summary) -> None:
    with ledger.reach() as client:
        if client.sismember(keys.RATINGS_IMPORTED, rating.id):
            summary.known += 1
            return
        summary.ratings += interactions.rate(ledger, rating)
        client.sadd(keys.RATINGS_IMPORTED, rating.id)


def _owned(name: str, place: str, mark: str = ":") -> str:
    """Return a name as one of the source's; a name that comes back from an export of it stays as it is."""
    return name if name == place or name.startswith(place + mark) else f"{place}{mark}{name}"


def _hash(content: object) -> str:
    # 30 digits: never taken for an id of ours, which ends in 32 and tells when it was made
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:30]
