"""Submissions: answers of labelers, appended once per id made by the client, corrected by further entries.

Knows ids, leases and time; nothing of what an answer means. An answer is one entry of a stream (labels or
demonstrations), and nothing here ever changes an entry.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar, cast

import msgspec

from feedback import keys
from feedback.client import Ledger, decode, encode
from feedback.errors import Conflict, LeaseLost, NotFound
from feedback.records import Demonstration, Label, Record

REVISE_S = 900.0
"""Seconds from its submission in which an answer may be corrected."""
MOST_REVISIONS = 50
A = TypeVar("A", Label, Demonstration)


class Answer(msgspec.Struct, frozen=True):
    """What became of a submission."""

    entry_id: str
    repeated: bool

    @property
    def at_s(self) -> float:
        """When it was taken, by the ledger's clock: Unix time, seconds."""
        return taken_at(self.entry_id)


class Found(NamedTuple):
    """Where an answer is that was submitted within the last month."""

    entry_id: str
    item_id: str
    labeler: str
    stream: str
    queue: str
    """Name of the queue in which it was asked for; empty if unknown."""


def taken_at(entry_id: str) -> float:
    """Return when an entry was appended, by the ledger's clock: Unix time, seconds."""
    return int(entry_id.split("-")[0]) / 1000


def digest(*substance: object) -> str:
    """Return the hash by which two submissions of one answer are known to be the same."""
    return hashlib.sha256(msgspec.json.encode(substance)).hexdigest()


def take(
    ledger: Ledger,
    stream: str,
    record: Label | Demonstration,
    item_id: str,
    token: int,
    substance: str,
    *,
    ends: bool = True,
    now: float | None = None,
) -> Answer:
    """Append an answer under a live lease; a repeated submission returns its first answer.

    Args:
        ledger: where to.
        stream: key of the stream.
        record: the answer; its id is the submission's.
        item_id: what it answers.
        token: of the lease.
        substance: digest of what was answered; another one under the same id is another answer.
        ends: whether the lease ends with it. One answer per item and labeler may be given beside it.
        now: Unix time, seconds; by default the ledger's.

    Raises:
        InvalidRecord: the record could not be read back.
        LeaseLost: the lease is not there, expired, or newer; nothing was written.
        Conflict: the submission id was used for another answer or by somebody else; nothing was written.
    """
    labeler = record.labeler
    verdict, detail = ledger.run(
        "submit",
        [
            keys.lease(item_id),
            keys.LEASES,
            keys.item(item_id),
            keys.submission(record.id),
            stream,
            keys.answers(item_id),
            keys.answered(labeler),
            keys.draft(labeler, item_id),
            keys.drafts(item_id),
            keys.holding(labeler),
        ],
        [
            item_id,
            labeler,
            str(token),
            encode(record),
            keys.MONTH_S,
            "" if now is None else f"{now:.3f}",
            substance,
            record.id,
            "end" if ends else "keep",
        ],
    )
    if verdict == "lost":
        raise LeaseLost(f"{item_id}: {detail}; your answer was not stored, ask for the next item")
    if verdict == "clash":
        raise Conflict(f"submission {record.id} is not the first: another answer was given before; it is kept")
    return Answer(entry_id=detail, repeated=verdict == "again")


def revise(
    ledger: Ledger,
    stream: str,
    record: Label | Demonstration,
    item_id: str,
    substance: str,
    *,
    revise_s: float = REVISE_S,
    now: float | None = None,
) -> Answer:
    """Append a correction of an earlier answer; a repeated one returns its first answer.

    Args:
        ledger: where to.
        stream: key of the stream.
        record: the correction, which says what it corrects (``revision_of``) and the how manieth it is (``revision``).
        item_id: what it answers.
        substance: digest of what was answered.
        revise_s: seconds from the first submission in which it may be corrected.
        now: Unix time, seconds; by default the ledger's.

    Raises:
        NotFound: this labeler gave no such answer within the last month.
        Conflict: it is too late, it was corrected meanwhile or too often, or the id was used for something else.
    """
    if record.revision > MOST_REVISIONS:
        raise Conflict(f"an answer can be corrected {MOST_REVISIONS} times")
    verdict, detail = ledger.run(
        "revise",
        [
            keys.submission(record.revision_of),
            keys.submission(record.id),
            stream,
            keys.answers(item_id),
            keys.revised(stream),
        ],
        [
            item_id,
            record.labeler,
            encode(record),
            keys.MONTH_S,
            "" if now is None else f"{now:.3f}",
            substance,
            record.revision_of,
            record.revision,
            revise_s,
        ],
    )
    if verdict == "none":
        raise NotFound(f"no answer {record.revision_of!r}")
    if verdict == "late":
        raise Conflict(f"an answer can be corrected for {revise_s / 60:g} minutes; these are over")
    if verdict == "stale":
        raise Conflict(f"answer {record.revision_of} was corrected meanwhile; look at it again")
    if verdict == "clash":
        raise Conflict(f"submission id {record.id} was used for another answer; make a new one per answer")
    return Answer(entry_id=detail, repeated=verdict == "again")


class Lost(NamedTuple):
    """A record that the ledger lost, as its second copy has it."""

    record: Record
    entry_id: str
    """Its old entry; empty if unknown."""
    item_id: str = ""
    """What it answers, if a labeler submitted it: then a retry is recognised, and the labeler sees it."""
    substance: str = ""
    """Digest of what was answered."""


def put_back(ledger: Ledger, stream: str, lost: list[Lost]) -> list[str]:
    """Append records that the ledger lost, under their old entries where the stream allows it; return the entries."""
    calls = []
    for record, entry_id, item_id, substance in lost:
        id, labeler = str(getattr(record, "id", "")), str(getattr(record, "labeler", ""))
        revision, first = (record.revision, root(record)) if isinstance(record, Label | Demonstration) else (0, id)
        places = [keys.submission(id), keys.answers(item_id), keys.answered(labeler), keys.revised(stream)]
        fields = [entry_id, encode(record), item_id, labeler, substance, id, first, revision, keys.MONTH_S]
        calls.append(([stream, *places], fields))
    return [str(entry) for entry in ledger.run_many("put_back", calls)]


def find(ledger: Ledger, id: str) -> Found | None:
    """Return where the answer with this submission id is, or None if none was given within the last month."""
    return find_many(ledger, [id])[0]


def find_many(ledger: Ledger, ids: list[str]) -> list[Found | None]:
    """Return where the answers with these submission ids are, None where none was given within the last month."""
    if not ids:
        return []
    with ledger.reach() as client:
        stored = cast(list[str | None], client.mget([keys.submission(id) for id in ids]))
    return [_found(text) if text is not None else None for text in stored]


def _found(stored: str) -> Found:
    head, stream, _, queue = [*stored.split("\n"), "", "", ""][:4]
    entry_id, item_id, labeler = head.split(" ", 2)
    return Found(entry_id, item_id, labeler, stream or keys.LABELS, queue)


def recent(ledger: Ledger, labeler: str, most: int) -> list[str]:
    """Return the ids of a labeler's last submissions, newest first; corrections have none of their own here."""
    with ledger.reach() as client:
        return cast(list[str], client.zrange(keys.answered(labeler), 0, most - 1, desc=True))


def of_item(ledger: Ledger, stream: str, item_id: str, kind: type[A]) -> list[tuple[str, A]]:
    """Return (entry id, answer) of an item in one stream, corrections included, oldest first."""
    with ledger.reach() as client:
        members = [each.split(" ") for each in cast(list[str], client.lrange(keys.answers(item_id), 0, -1))]
        entries = [entry for name, entry, *_ in members if name == stream]
        with client.pipeline(transaction=False) as line:
            for entry in entries:
                line.xrange(stream, entry, entry)
            pages = cast(list[list[tuple[str, dict[str, str]]]], line.execute()) if entries else []
    return [(entry_id, decode(fields["record"], kind)) for page in pages for entry_id, fields in page]


def root(record: Label | Demonstration) -> str:
    """Return the id of the first answer that a record is, or corrects."""
    return record.revision_of or record.id


def latest(entries: Iterable[tuple[str, A]]) -> Iterator[tuple[str, A]]:
    """Yield of each answer its highest revision, in the order of the first ones; the later one of two equals."""
    found: dict[str, tuple[str, A]] = {}
    for entry_id, record in entries:
        id = root(record)
        if id not in found or record.revision >= found[id][1].revision:
            found[id] = entry_id, record
    yield from found.values()
