"""Finished snapshots: found, checked against their hashes, held side by side."""

from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from feedback import artifacts, keys, prompts, snapshots
from feedback.client import Ledger
from feedback.errors import ArtifactCorrupt, NotFound
from feedback.records import Snapshot
from tests.builders import make_prompt

FILES = ("comparisons", "demonstrations", "prompts", "rows", "left_out")


@pytest.fixture
def made(ledger: Ledger, tmp_path: Path) -> Snapshot:
    for number in (1, 2, 3):
        prompts.keep(ledger, make_prompt(f"Question {number} 🦊?", id=f"pro_{number}"), str(number), 200)
    return snapshots.build(ledger, tmp_path)


def test_a_snapshot_is_found_by_its_id_and_listed(ledger: Ledger, made: Snapshot) -> None:
    assert snapshots.get(ledger, made.id) == made
    assert snapshots.list_snapshots(ledger) == [made]


def test_an_unknown_snapshot_is_not_found_by_name(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="snp_none"):
        snapshots.get(ledger, "snp_none")


def test_a_whole_snapshot_is_what_its_record_says(made: Snapshot, tmp_path: Path) -> None:
    assert snapshots.verify(made, tmp_path) == 3


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_noticed_in_every_file(made: Snapshot, tmp_path: Path, name: str) -> None:
    path = tmp_path / made.path / f"{name}.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ArtifactCorrupt, match=name):
        snapshots.verify(made, tmp_path)


def test_a_row_that_was_exchanged_with_all_its_sums_is_noticed(made: Snapshot, tmp_path: Path) -> None:
    path = tmp_path / made.path / "prompts.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0]["messages"][0]["content"] = "Another question?"
    pq.write_table(table.from_pylist(rows, schema=table.schema), path)
    forged = msgspec.structs.replace(made, sha256=artifacts.write_manifest(tmp_path / made.path))
    with pytest.raises(ArtifactCorrupt, match="pro_1"):
        snapshots.verify(forged, tmp_path)


def test_a_row_that_is_missing_with_all_its_sums_is_noticed(made: Snapshot, tmp_path: Path) -> None:
    path = tmp_path / made.path / "prompts.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    forged = msgspec.structs.replace(made, sha256=artifacts.write_manifest(tmp_path / made.path))
    with pytest.raises(ArtifactCorrupt, match="the rows are not those"):
        snapshots.verify(forged, tmp_path)


def test_two_snapshots_side_by_side_say_what_came_and_what_went(ledger: Ledger, made: Snapshot, tmp_path: Path) -> None:
    ledger.redis.hdel(keys.PROMPTS, "pro_1")
    prompts.keep(ledger, make_prompt("Question 4?", id="pro_4"), "4", 200)
    later = snapshots.build(ledger, tmp_path)
    found = snapshots.compare(made, later, tmp_path)
    assert (found.gained, found.lost) == ({"prompts": 1}, {"prompts": 1})
    assert found.reasons == {"prompts": {"not in the ledger": 1}}
    assert snapshots.compare(made, made, tmp_path) == ({}, {}, {})


def test_an_answer_that_was_corrected_counts_once(made: Snapshot) -> None:
    left_out = {"a": "superseded", "b": "erased"}
    assert snapshots.answers_in(msgspec.structs.replace(made, labels=["c", "d"], left_out=left_out)) == 3
