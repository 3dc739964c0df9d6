"""Building a snapshot: read the ledger, screen, cap, write the files, record what was done.

Every label is either inside or named in ``left_out`` with the reason. The same ledger content gives the same bytes:
rows are in the order of their time and id, not of the stream, so a restored ledger gives them too.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feedback import (
    access,
    artifacts,
    comparisons,
    demonstration_reviews,
    demonstrations,
    fence,
    keys,
    labelers,
    labels,
    policies,
    prompts,
    reviews,
    tombstones,
)
from feedback.client import Ledger, encode
from feedback.ids import new_id
from feedback.records import Snapshot, utc_now
from feedback.snapshots import caps as share
from feedback.snapshots import rows, screen, texts
from feedback.snapshots.caps import Caps
from feedback.snapshots.rows import Row
from feedback.snapshots.screen import Pair, View
from feedback.snapshots.store import content_sha256


class Draft:
    """Rows that go in and what does not, while a snapshot is being made."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.rows: dict[str, list[Row]] = {kind: [] for kind in rows.SCHEMAS}
        self.left_out: dict[str, dict[str, str]] = {kind: {} for kind in rows.SCHEMAS}
        self.extra: Counter[tuple[str, str]] = Counter()
        """(kind, reason) -> rows that are not inside and have no id of their own."""
        self.neutralised: Counter[str] = Counter()

    def add(self, kind: str, row: Row) -> None:
        """Put a row in, or leave it out for what its texts hold."""
        tidy, done, why = texts.clean(row)
        if why:
            self.left_out[kind][row["id"]] = why
        else:
            self.rows[kind].append(tidy)
            self.neutralised.update(done)

    def drop(self, kind: str, reasons: dict[str, str]) -> None:
        """Leave these ids out."""
        self.left_out[kind] |= reasons
        self.rows[kind] = [row for row in self.rows[kind] if row["id"] not in reasons]

    @property
    def quarantined(self) -> dict[str, dict[str, int]]:
        """Kind -> reason -> how many are not inside."""
        counted = {kind: Counter(reasons.values()) for kind, reasons in self.left_out.items()}
        for (kind, reason), count in (+self.extra).items():
            counted[kind][reason] += count
        return {kind: dict(sorted(reasons.items())) for kind, reasons in counted.items() if reasons}


def build(
    ledger: Ledger,
    root: Path,
    caps: Caps | None = None,
    without: Iterable[str] = (),
    *,
    id: str = "",
    number: int = fence.NO_FENCE,
) -> Snapshot:
    """Freeze what the ledger holds now under ``root``/snapshots, record the snapshot and return it.

    Args:
        ledger: where the labels are.
        root: the artifact root.
        caps: how much of the training rows one party may be.
        without: people whose rows stay out: ``labeler:NAME``, ``customer:NAME``.
        id: of the snapshot; a new one if empty.
        number: of the trainer that writes (`feedback.fence`).

    Raises:
        Conflict: there are files of a snapshot with this id.
        LeaseLost: another trainer took over; the files are without a record.
        DataError: more than 1 % of the rows are malformed; nothing was written.
    """
    view, draft = _view(ledger, frozenset(without)), Draft()
    pairs = _labels(ledger, view, draft)
    for label, comparison in pairs:
        draft.add("comparisons", rows.comparison_row(label, rows.masked(comparison, label.labeler_group)))
    _others(ledger, view, draft)
    _refuse_leaks(draft)
    inside = {row["id"] for row in draft.rows["comparisons"]}
    _, beyond, applied = share.apply([pair for pair in pairs if pair[0].id in inside], caps or Caps())
    draft.drop("comparisons", beyond)
    seen = sum(len(each) for each in [*draft.rows.values(), *draft.left_out.values()]) + draft.extra.total()
    screen.check_malformed(draft.quarantined, seen)
    snapshot = _store(root, id or new_id("snp"), draft, view, applied)
    fence.write(ledger, number, (keys.SNAPSHOTS, snapshot.id, encode(snapshot)))
    return snapshot


def _view(ledger: Ledger, without: frozenset[str]) -> View:
    people = access.list_keys(ledger)
    owners = {role: frozenset(key.owner for key in people if key.role == role) for role in ("client", "labeler")}
    return View(
        now=utc_now(),
        erased=tombstones.read(ledger),
        withdrawn=access.withdrawn(ledger),
        quarantined=labelers.quarantined(ledger),
        adjudicated=frozenset(reviews.adjudications(ledger)),
        discarded=frozenset(reviews.discarded(ledger)),
        reviewed=demonstration_reviews.latest(ledger),
        labelers=owners["labeler"],
        customers=frozenset(key.owner for key in people) if owners["client"] else frozenset(),
        versions=frozenset(policy.version for policy in policies.list_policies(ledger)),
        keys={each.id: each.key_id for each in prompts.all_prompts(ledger)},
        without=without,
    )


def _labels(ledger: Ledger, view: View, draft: Draft) -> list[Pair]:
    """Return the labels that pass the screen, reviewers' rankings among them, with their comparisons."""
    ours, superseded, again = screen.newest(label for _, label in labels.read(ledger))
    ours += [rows.as_label(each) for each in reviews.adjudications(ledger).values()]
    ours.sort(key=lambda label: (label.created_at, label.id))
    ids = [label.comparison_id for label in ours]
    kept, left_out = screen.labels(ours, dict(zip(ids, comparisons.get_many(ledger, ids), strict=True)), view)
    draft.drop("comparisons", superseded | left_out)
    draft.extra["comparisons", "duplicate id"] += again
    return kept


def _others(ledger: Ledger, view: View, draft: Draft) -> None:
    """Add demonstrations and prompts."""
    written, superseded, again = screen.newest(each for _, each in demonstrations.read(ledger))
    draft.drop("demonstrations", superseded)
    draft.extra["demonstrations", "duplicate id"] += again
    for each in sorted(written, key=lambda each: (each.created_at, each.id)):
        if reason := screen.demonstration(each, view):
            draft.drop("demonstrations", {each.id: reason})
        else:
            draft.add("demonstrations", rows.demonstration_row(each))
    for asked in prompts.all_prompts(ledger):
        if reason := screen.prompt(asked, view):
            draft.drop("prompts", {asked.id: reason})
        else:
            draft.add("prompts", rows.prompt_row(asked))


def _refuse_leaks(draft: Draft) -> None:
    """Leave out rows whose prompt is on the other side of the split as well.

    The curated pool says on which side a text is; where it does not know the text, the held-out side has it, so that
    what is measured stays the same from round to round.
    """
    keyed = {kind: [(row, texts.key_of(row["messages"])) for row in draft.rows[kind]] for kind in rows.SCHEMAS}
    pool: dict[str, bool] = {}
    rest: dict[str, bool] = {}
    for kind, found in keyed.items():
        side = pool if kind == "prompts" else rest
        for row, key in found:
            side[key] = side.get(key, False) or row["split"] != "train"
    held_out = rest | pool
    for kind, found in keyed.items():
        draft.drop(kind, {row["id"]: "leak" for row, key in found if (row["split"] != "train") != held_out[key]})


def _store(root: Path, id: str, draft: Draft, view: View, applied: dict[str, Any]) -> Snapshot:
    """Write the files and return the record."""
    path = Path("snapshots") / id
    hashes = [
        {"kind": kind, "id": row["id"], "sha256": rows.sha256_of(row), "people": rows.people_of(row)}
        for kind in rows.SCHEMAS
        for row in draft.rows[kind]
    ]
    missing = [
        {"kind": kind, "id": each, "reason": reason}
        for kind in rows.SCHEMAS
        for each, reason in sorted(draft.left_out[kind].items())
    ]
    with artifacts.new_directory(root / path) as directory:
        for kind, schema in rows.SCHEMAS.items():
            _write(directory / f"{kind}.parquet", draft.rows[kind], schema)
        _write(directory / "rows.parquet", hashes, rows.HASHES)
        _write(directory / "left_out.parquet", missing, rows.LEFT_OUT)
    inside = [row["id"] for row in draft.rows["comparisons"]]
    final = {row["id"] for row in draft.rows["comparisons"] if row["labeler_group"] == rows.REVIEWER}
    return Snapshot(
        id=id,
        created_at=utc_now(),
        path=str(path),
        sha256=artifacts.sha256_of(root / path / artifacts.MANIFEST),
        comparisons=len(inside),
        demonstrations=len(draft.rows["demonstrations"]),
        prompts=len(draft.rows["prompts"]),
        labels=[each for each in inside if each not in final],
        left_out=draft.left_out["comparisons"],
        adjudications=[each for each in inside if each in final],
        content_sha256=content_sha256(hashes),
        quarantined=draft.quarantined,
        neutralised=dict(sorted(draft.neutralised.items())),
        caps=applied,
        without=sorted(view.without),
    )


def _write(path: Path, written: list[Row], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(written, schema=schema), path, compression="zstd")
