"""Importing: each thing once, under its source's name, and what cannot be used said line by line."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from feedback import (
    comparisons,
    copies,
    erasure,
    exchange,
    interactions,
    keys,
    labels,
    leases,
    reconcile,
    snapshots,
)
from feedback.client import Ledger
from feedback.errors import ConfigError, DataError
from feedback.exchange.importing import Summary
from feedback.ids import made_at_s
from feedback.quality.gathering import gather
from tests.builders import lease_next, make_label, open_comparison
from tests.feedback.exchange.test_open_webui import entry

pytestmark = pytest.mark.redis


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"r{number}",
        "prompt": f"Question {number}?",
        "responses": [{"text": "Yes.", "model": "m1"}, {"text": "No."}],
        "comparisons": [
            {"a": 0, "b": 1, "winner": "a", "annotator": "ann"},
            {"a": 0, "b": 1, "winner": "tie", "annotator": "bob"},
        ],
        **changes,
    }


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(each if isinstance(each, str) else json.dumps(each) + "\n" for each in rows))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "set.jsonl", [row(number) for number in range(40)])


def test_rows_become_comparisons_and_labels_of_their_source(ledger: Ledger, file: Path) -> None:
    made = exchange.take(ledger, file, "shop")
    assert made == Summary(source="shop", rows=40, comparisons=40, labels=80)
    given = [label for _, label in labels.read(ledger)]
    assert {(label.labeler, label.labeler_group) for label in given} == {
        ("import:shop:ann", "imported"),
        ("import:shop:bob", "imported"),
    }
    found = comparisons.get(ledger, given[0].comparison_id)
    assert (found.customer, found.purpose, found.k) == ("import:shop", "training", 2)
    assert [each.policy_version for each in found.completions] == ["import:shop/m1", "import:shop/unknown"]
    assert labels.of(ledger, found.id) == given[:2]
    assert leases.waiting(ledger, "training") == 0, "nobody is asked about it"
    assert made_at_s(found.id) is None, "the id is not taken for one that tells its time"


def test_prompts_without_a_customer_fall_into_all_splits(ledger: Ledger, file: Path) -> None:
    exchange.take(ledger, file, "shop")
    ids = [label.comparison_id for _, label in labels.read(ledger)]
    splits = [each.split for each in comparisons.get_many(ledger, ids) if each]
    assert set(splits) == {"train", "valid", "test"}
    assert splits.count("train") > 40


def test_a_customer_and_a_split_of_a_row_count(ledger: Ledger, tmp_path: Path) -> None:
    rows = [row(n, customer="acme") for n in range(5)] + [row(9, split="test")]
    exchange.take(ledger, write(tmp_path / "x", rows), "shop")
    found = [comparisons.get(ledger, label.comparison_id) for _, label in labels.read(ledger)]
    assert {each.customer for each in found} == {"import:shop:acme", "import:shop"}
    assert len({each.split for each in found if each.customer.endswith("acme")}) == 1
    assert {each.split for each in found if each.customer == "import:shop"} == {"test"}


def test_importing_again_adds_nothing_and_a_broken_off_import_goes_on(ledger: Ledger, file: Path) -> None:
    part = write(file.with_name("part"), [row(number) for number in range(7)])
    exchange.take(ledger, part, "shop")
    assert exchange.take(ledger, file, "shop").labels == 66
    again = exchange.take(ledger, file, "shop")
    assert (again.labels, again.comparisons, again.known) == (0, 0, 80)
    assert labels.count(ledger) == 80
    assert exchange.take(ledger, file, "other").labels == 80, "another source says it too"


def test_imported_labels_are_nobodys_work_and_hide_nobodys(ledger: Ledger, file: Path) -> None:
    comparison = open_comparison(ledger)
    mine = make_label(comparison)
    labels.submit(ledger, mine, comparison, lease_next(ledger).token)
    exchange.take(ledger, file, "shop")
    window = gather(ledger, 10)
    assert [each.label.id for each in window.given] == [mine.id]
    assert window.through == ledger.redis.xrevrange(keys.LABELS, count=1)[0][0]


def test_a_restored_ledger_knows_what_it_imported(ledger: Ledger, file: Path, tmp_path: Path) -> None:
    exchange.take(ledger, file, "shop")
    copies.copy(ledger, tmp_path)
    ledger.redis.flushall()
    reconcile.restore(ledger, tmp_path)
    again = exchange.take(ledger, file, "shop")
    assert (again.labels, again.known) == (0, 80)


def test_bad_lines_are_counted_by_reason_and_named_by_number(ledger: Ledger, tmp_path: Path) -> None:
    rows = [row(1), "{\n", "\n", row(2, prompt=""), "[]\n", row(3, responses=[{"text": "a"}]), "\ufeff", row(4)]
    made = exchange.take(ledger, write(tmp_path / "x", rows), "shop")
    assert (made.rows, made.comparisons) == (6, 1)
    assert [number for number, _ in made.lines] == [2, 4, 5, 6, 7]
    assert sum(made.quarantined.values()) == 5
    assert made.quarantined["the prompt is empty"] == 1


def test_an_erased_source_does_not_come_back(ledger: Ledger, file: Path, tmp_path: Path) -> None:
    exchange.take(ledger, file, "shop")
    erasure.erase(ledger, tmp_path, "import:shop", "olga")
    again = exchange.take(ledger, file, "shop")
    assert (again.labels, again.erased) == (0, 40)
    assert snapshots.build(ledger, tmp_path).comparisons == 0


def test_what_is_imported_trains(ledger: Ledger, file: Path, tmp_path: Path) -> None:
    exchange.take(ledger, file, "shop")
    made = snapshots.build(ledger, tmp_path)
    rows = pq.read_table(tmp_path / made.path / "comparisons.parquet").to_pylist()
    assert {each["annotator"] for each_row in rows for each in each_row["comparisons"]} == {"import:shop:ann"}
    assert set(made.left_out.values()) == {"nothing to learn", "training of split test"}
    assert len(made.labels) + len(made.left_out) == 80


def test_thumbs_become_ratings_and_arena_votes_labels(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "feedback.json"
    path.write_text(json.dumps([entry(1), entry(-1, arena=True), {"id": "f3"}]))
    made = exchange.take(ledger, path, "owui", "open-webui")
    assert (made.rows, made.ratings, made.labels) == (3, 1, 1)
    assert made.lines == [(3, "`data` is no object")]
    [rating] = [each for _, each in ledger.stream(keys.RATINGS, interactions.Rating)]
    assert (rating.customer, rating.interaction_id, rating.rating) == ("import:owui:u1", "import:owui:m1", 1)
    again = exchange.take(ledger, path, "owui", "open-webui")
    assert (again.ratings, again.labels, again.known) == (0, 0, 2)


@pytest.mark.parametrize("source", ["", "A", "../x", "a b", "x" * 65, "a:b", "é", "-x"])
def test_a_source_that_is_no_name_is_refused(ledger: Ledger, file: Path, source: str) -> None:
    with pytest.raises(ConfigError, match="no name"):
        exchange.take(ledger, file, source)


@pytest.mark.parametrize("format", ["", "scores", "csv", "*"])
def test_a_format_that_cannot_be_read_is_refused_with_those_that_can(ledger: Ledger, file: Path, format: str) -> None:
    with pytest.raises(ConfigError, match="whetstone, rankings, trl"):
        exchange.take(ledger, file, "shop", format)


def test_a_file_that_is_none_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        exchange.take(ledger, tmp_path / "none", "shop")
