"""Snapshots that were made: found by id, checked against their hashes, held side by side.

Knows files and records of finished snapshots; does not know how rows are chosen.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from feedback import artifacts, keys
from feedback.client import Ledger
from feedback.errors import ArtifactCorrupt, NotFound
from feedback.records import Snapshot
from feedback.snapshots import rows

AGAIN = ("superseded", "duplicate id")
"""Reasons for which rows are not inside that are about another row of the same answer."""


class Difference(NamedTuple):
    """What one snapshot has that another has not, row by row."""

    gained: dict[str, int]
    """Kind of row -> how many rows only the second one has."""
    lost: dict[str, int]
    """Kind of row -> how many rows only the first one has."""
    reasons: dict[str, dict[str, int]]
    """Kind -> why the second one has not -> how many of the lost rows; ``changed`` for rows with other content."""


def get(ledger: Ledger, id: str) -> Snapshot:
    """Return one snapshot.

    Raises:
        NotFound: no such snapshot.
    """
    snapshot = ledger.hget(keys.SNAPSHOTS, id, Snapshot)
    if snapshot is None:
        raise NotFound(f"no snapshot {id!r}")
    return snapshot


def list_snapshots(ledger: Ledger) -> list[Snapshot]:
    """Return all snapshots, oldest first."""
    return ledger.hall(keys.SNAPSHOTS, Snapshot)


def answers_in(snapshot: Snapshot) -> int:
    """Return how many answers a snapshot took note of, used or not; one that was corrected counts once."""
    return len(snapshot.labels) + sum(reason != "superseded" for reason in snapshot.left_out.values())


def demonstrations_in(snapshot: Snapshot) -> int:
    """Return how many demonstrations a snapshot took note of, used or not; one that was corrected counts once."""
    left_out = snapshot.quarantined.get("demonstrations", {})
    return snapshot.demonstrations + sum(n for reason, n in left_out.items() if reason not in AGAIN)


def new_comparisons(first: Snapshot, second: Snapshot, root: Path) -> int:
    """Return how many comparisons to train on only the second snapshot has."""
    before, after = (_read(root / each.path, "comparisons", ["id", "split"]) for each in (first, second))
    known = {row["id"] for row in before}
    return sum(row["split"] == "train" and row["id"] not in known for row in after)


def content_sha256(hashes: Iterable[Mapping[str, str]]) -> str:
    """Return the SHA-256 over (kind, id, hash) of all rows; neither the order nor the files' format matters."""
    lines = sorted(f"{each['kind']} {each['id']} {each['sha256']}\n" for each in hashes)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def verify(snapshot: Snapshot, root: Path) -> int:
    """Hash every file and every row of a snapshot again; return how many rows there are.

    Raises:
        ArtifactMissing: a file is not there.
        ArtifactCorrupt: a file, a row or the whole is not what the record says.
    """
    directory = root / snapshot.path
    artifacts.verify(directory, snapshot.sha256)
    if not snapshot.content_sha256:
        return snapshot.comparisons + snapshot.demonstrations + snapshot.prompts  # made before rows were hashed
    listed = {(each["kind"], each["id"]): each["sha256"] for each in _read(directory, "rows")}
    found = []
    for kind in rows.SCHEMAS:
        for row in _read(directory, kind):
            found.append({"kind": kind, "id": row["id"], "sha256": rows.sha256_of(row)})
            if listed.pop((kind, row["id"]), "") != found[-1]["sha256"]:
                raise ArtifactCorrupt(f"{directory}: {kind} {row['id']} is not the row that its hash was made of")
    if listed or content_sha256(found) != snapshot.content_sha256:
        raise ArtifactCorrupt(f"{directory}: the rows are not those that {snapshot.id} was made of")
    return len(found)


def compare(first: Snapshot, second: Snapshot, root: Path) -> Difference:
    """Return what the second snapshot gained and lost against the first, by kind and reason."""
    before, after = (
        {(each["kind"], each["id"]): each["sha256"] for each in _read(root / snapshot.path, "rows")}
        for snapshot in (first, second)
    )
    why = {(each["kind"], each["id"]): each["reason"] for each in _read(root / second.path, "left_out")}
    lost = [row for row in before if before[row] != after.get(row)]
    reasons: dict[str, Counter[str]] = {}
    for row in lost:
        reason = "changed" if row in after else why.get(row, "not in the ledger")
        reasons.setdefault(row[0], Counter())[reason] += 1
    return Difference(
        gained=dict(Counter(kind for kind, id in after if before.get((kind, id)) != after[kind, id])),
        lost=dict(Counter(kind for kind, _ in lost)),
        reasons={kind: dict(counts.most_common()) for kind, counts in reasons.items()},
    )


def _read(directory: Path, name: str, columns: list[str] | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(directory / f"{name}.parquet", columns=columns).to_pylist()
    return found
