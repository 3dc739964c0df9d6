"""Erasure: everything that one customer sent before a moment leaves the system, and a receipt says what that was.

The first act is a tombstone: from then on nothing of before can enter the ledger, also not from the spool of a replica
that was away. Then passes over all places, repeated until one finds nothing more after everything that was under way at
the first has ended. Snapshots are immutable and stay; they are listed, with the policies that were trained on them.
"""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from feedback import keys, lineage, promotion, scrub, snapshots, tombstones
from feedback.client import Ledger, encode
from feedback.errors import InvalidRecord, NotFound
from feedback.ids import new_id
from feedback.records import Erasure, Snapshot, utc_now
from feedback.tombstones import SETTLE_S, Tombstone

LOCK_S = 300
"""Longest that a pass may take before another process takes over."""
FILES = ("comparisons.parquet", "demonstrations.parquet", "prompts.parquet")


def erase(ledger: Ledger, root: Path, customer: str, actor: str) -> Erasure:
    """Ask for an erasure and make the first pass at once; return the receipt.

    Args:
        ledger: where the records are.
        root: the artifact root.
        customer: whose words go.
        actor: who asks, for the audit.
    """
    return work(ledger, root, request(ledger, customer, actor))


def request(ledger: Ledger, customer: str, actor: str) -> Erasure:
    """Put the tombstone and a receipt; `work` does the rest, from any process.

    Raises:
        InvalidRecord: the customer's name is empty.
    """
    if not customer.strip():
        raise InvalidRecord("name the customer to erase")
    now = utc_now()
    erasure = Erasure(id=new_id("era"), created_at=now, customer=customer, actor=actor)
    tombstones.put(ledger, customer, now.timestamp())
    _store(ledger, erasure)
    promotion.note(ledger, actor, "erase requested", customer, erasure.id)
    return erasure


def get(ledger: Ledger, id: str) -> Erasure:
    """Return a receipt.

    Raises:
        NotFound: there is none with this id.
    """
    found = ledger.hget(keys.ERASURES, id, Erasure)
    if found is None:
        raise NotFound(f"no erasure {id!r}")
    return found


def running(ledger: Ledger) -> list[Erasure]:
    """Return the erasures that are not done yet, oldest first."""
    return [each for each in ledger.hall(keys.ERASURES, Erasure) if each.state == "running"]


def work_on_all(ledger: Ledger, root: Path, now: Callable[[], float] = time.time) -> list[Erasure]:
    """Make a pass for every erasure that needs one; return their receipts."""
    return [work(ledger, root, each, now) for each in running(ledger)]


def work(ledger: Ledger, root: Path, erasure: Erasure, now: Callable[[], float] = time.time) -> Erasure:
    """Make one pass and return the receipt as it is now; safe at any time, from any process.

    The first pass is made at once; the next ones once everything that was under way has ended, until one finds nothing.
    """
    token = new_id("pas")
    if not ledger.run("hold", [keys.ERASURE_LOCK], [token, LOCK_S]):
        return get(ledger, erasure.id)
    try:
        erasure = get(ledger, erasure.id)
        mark = Tombstone(erasure.customer, erasure.created_at.timestamp())
        settled = now() >= mark.at + SETTLE_S
        if erasure.state == "done" or (erasure.passes and not settled):
            return erasure
        found = scrub.everything(ledger, root, mark)
        stained = trained_on(ledger, root, mark)
        erasure = msgspec.structs.replace(
            erasure,
            passes=erasure.passes + 1,
            counts={kind: erasure.counts.get(kind, 0) + found.get(kind, 0) for kind in {**erasure.counts, **found}},
            snapshots=stained,
            policies=lineage.descendants(ledger, stained),
        )
        if settled and not found:
            erasure = msgspec.structs.replace(erasure, state="done", finished_at=utc_now())
            promotion.note(ledger, erasure.actor, "erased", erasure.customer, erasure.id)
        _store(ledger, erasure)
        return erasure
    finally:
        ledger.run("let_go", [keys.ERASURE_LOCK], [token])


def trained_on(ledger: Ledger, root: Path, mark: Tombstone) -> list[str]:
    """Return the ids of snapshots that hold rows of the customer; one that cannot be read counts as holding some."""
    older = [each for each in snapshots.list_snapshots(ledger) if each.created_at.timestamp() <= mark.at + SETTLE_S]
    return [each.id for each in older if _holds(each, root, mark.customer)]


def _holds(snapshot: Snapshot, root: Path, customer: str) -> bool:
    try:
        return any(
            customer in pq.read_table(root / snapshot.path / name, columns=["customer"])["customer"].to_pylist()
            for name in FILES
        )
    except (OSError, ValueError):
        return True


def _store(ledger: Ledger, erasure: Erasure) -> None:
    with ledger.reach() as client:
        client.hset(keys.ERASURES, erasure.id, encode(erasure))
