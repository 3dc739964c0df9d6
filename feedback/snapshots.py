"""Snapshots: labels, demonstrations and prompts frozen into hashed Parquet files.

Every label is either inside or named in ``left_out`` with the reason. The same ledger content gives the same bytes.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from feedback import artifacts, comparisons, demonstrations, keys, labels, prompts, tombstones
from feedback.client import Ledger, encode
from feedback.errors import NotFound
from feedback.ids import new_id
from feedback.records import Comparison, Demonstration, Label, Message, Prompt, Snapshot, utc_now
from feedback.tombstones import Tombstones
from feedback.votes import GROUP

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
COMPARISONS = pa.schema(
    [
        ("id", pa.string()),
        ("messages", MESSAGES),
        (
            "responses",
            pa.list_(pa.struct([("text", pa.string()), ("model", pa.string()), ("finished", pa.bool_())])),
        ),
        (
            "comparisons",
            pa.list_(
                pa.struct([("a", pa.int32()), ("b", pa.int32()), ("winner", pa.string()), ("annotator", pa.string())])
            ),
        ),
        ("customer", pa.string()),
        ("split", pa.string()),
        ("labeler_group", pa.string()),
        ("comparison_id", pa.string()),
    ]
)
DEMONSTRATIONS = pa.schema(
    [
        ("id", pa.string()),
        ("messages", MESSAGES),
        ("response", pa.string()),
        ("customer", pa.string()),
        ("labeler", pa.string()),
        ("split", pa.string()),
    ]
)
PROMPTS = pa.schema([("id", pa.string()), ("messages", MESSAGES), ("customer", pa.string()), ("split", pa.string())])


MOST_VOTES = 0.1
"""Largest share of a snapshot's labels that may be customers' votes: a few per cent of poisoned preferences already
move a reward model (Rando and Tramer, arXiv:2311.14455), and anybody with a key may vote."""


def build(ledger: Ledger, root: Path, most_per_labeler: int = 1_000_000, most_votes: float = MOST_VOTES) -> Snapshot:
    """Freeze what the ledger holds now under ``root``/snapshots, record the snapshot and return it.

    Args:
        ledger: where the labels are.
        root: the artifact root.
        most_per_labeler: labels of one labeler beyond this number are left out.
        most_votes: largest share of the labels inside that may be customers' votes, 0 to below 1.
    """
    taken = [label for _, label in labels.read(ledger)]
    found = dict(
        zip(
            (label.comparison_id for label in taken),
            comparisons.get_many(ledger, [label.comparison_id for label in taken]),
            strict=True,
        )
    )
    erased = tombstones.read(ledger)
    kept, left_out = sort_out(taken, found, most_per_labeler, erased)
    kept, too_many = limit_votes(kept, most_votes)
    left_out |= too_many
    shown = [
        each for _, each in demonstrations.read(ledger) if not erased.cover_derived(each.customer, each.created_at)
    ]
    pool = [each for each in prompts.all_prompts(ledger) if not erased.cover_derived(each.customer, each.created_at)]
    id = new_id("snp")
    path = Path("snapshots") / id
    with artifacts.new_directory(root / path) as draft:
        _write(draft / "comparisons.parquet", [comparison_row(*pair) for pair in kept], COMPARISONS)
        _write(draft / "demonstrations.parquet", [demonstration_row(each) for each in shown], DEMONSTRATIONS)
        _write(draft / "prompts.parquet", [prompt_row(each) for each in pool], PROMPTS)
    snapshot = Snapshot(
        id=id,
        created_at=utc_now(),
        path=str(path),
        sha256=artifacts.sha256_of(root / path / artifacts.MANIFEST),
        comparisons=len(kept),
        demonstrations=len(shown),
        prompts=len(pool),
        labels=[label.id for label, _ in kept],
        left_out=left_out,
    )
    with ledger.reach() as client:
        client.hset(keys.SNAPSHOTS, id, encode(snapshot))
    return snapshot


def sort_out(
    taken: list[Label], found: dict[str, Comparison | None], most_per_labeler: int, erased: Tombstones
) -> tuple[list[tuple[Label, Comparison]], dict[str, str]]:
    """Split labels into usable (label, comparison) pairs and {label id: reason} for the rest."""
    kept: list[tuple[Label, Comparison]] = []
    left_out: dict[str, str] = {}
    per_labeler: Counter[str] = Counter()
    for label in taken:
        comparison = found.get(label.comparison_id)
        if label.comparison_id in erased.comparisons or (
            comparison is not None and erased.cover_derived(comparison.customer, comparison.created_at)
        ):
            left_out[label.id] = "erased"
        elif comparison is None:
            left_out[label.id] = "comparison is gone"
        elif per_labeler[label.labeler] >= most_per_labeler:
            left_out[label.id] = "labeler cap"
        else:
            per_labeler[label.labeler] += 1
            kept.append((label, comparison))
    return kept, left_out


def limit_votes(
    pairs: list[tuple[Label, Comparison]], most_share: float
) -> tuple[list[tuple[Label, Comparison]], dict[str, str]]:
    """Leave out customers' votes beyond their share of all labels; return what stays and {label id: reason}.

    Customers take turns, each with their oldest vote first, so that nobody fills the share alone.
    """
    votes = [label for label, _ in pairs if label.labeler_group == GROUP]
    allowed = int(most_share / (1 - most_share) * (len(pairs) - len(votes)) + 1e-9)
    turn: Counter[str] = Counter()
    turns: dict[str, tuple[int, int]] = {}
    for place, label in enumerate(votes):
        turns[label.id] = (turn[label.labeler], place)
        turn[label.labeler] += 1
    beyond = set(sorted(turns, key=lambda id: turns[id])[allowed:])
    return [pair for pair in pairs if pair[0].id not in beyond], dict.fromkeys(sorted(beyond), "customers' share")


def comparison_row(label: Label, comparison: Comparison) -> dict[str, Any]:
    """Return one labelled comparison in the preference schema (see `COMPARISONS`)."""
    return {
        "id": label.id,
        "messages": _turns(comparison.messages),
        "responses": [
            {"text": each.text, "model": each.policy_version, "finished": each.finished}
            for each in comparison.completions
        ],
        "comparisons": [
            {"a": a, "b": b, "winner": winner, "annotator": label.labeler}
            for a, b, winner in labels.pairs(label.ranking)
        ],
        "customer": comparison.customer,
        "split": comparison.split,
        "labeler_group": label.labeler_group,
        "comparison_id": comparison.id,
    }


def demonstration_row(demonstration: Demonstration) -> dict[str, Any]:
    """Return one demonstration as a row of `DEMONSTRATIONS`."""
    return {
        "id": demonstration.id,
        "messages": _turns(demonstration.messages),
        "response": demonstration.response,
        "customer": demonstration.customer,
        "labeler": demonstration.labeler,
        "split": demonstration.split,
    }


def prompt_row(prompt: Prompt) -> dict[str, Any]:
    """Return one prompt as a row of `PROMPTS`."""
    return {
        "id": prompt.id,
        "messages": _turns(prompt.messages),
        "customer": prompt.customer,
        "split": prompt.split,
    }


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


def _turns(messages: list[Message]) -> list[dict[str, str]]:
    return [msgspec.structs.asdict(message) for message in messages]


def _write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")
