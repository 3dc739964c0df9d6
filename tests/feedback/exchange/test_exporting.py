"""Exporting: everything that counts, nothing that must stay, a page at a time."""

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from feedback import access, comparisons, erasure, exchange, keys, labels, votes
from feedback.client import Ledger, encode
from feedback.errors import ConfigError
from feedback.exchange import exporting
from feedback.exchange.formats import FORMATS
from tests.builders import (
    lease_next,
    make_comparison,
    make_completion,
    make_interaction,
    make_label,
    open_comparison,
)

pytestmark = pytest.mark.redis
WRITABLE = [name for name, each in FORMATS.items() if each.write]
TWO_WAYS = ["whetstone", "rankings", "argilla", "label-studio"]


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """A ledger with three comparisons, one of which two labelers ranked, and a label that was corrected."""
    for number in range(3):
        comparison = open_comparison(ledger, overlap=2, customer=f"c{number}")
        for name in ("lee", "ann")[: 2 if number == 0 else 1]:
            label = make_label(comparison, labeler=name, quality=[4, 3, 2, 1], ranking=[[1], [0, 2], [3]])
            labels.submit(ledger, label, comparison, lease_next(ledger, name).token)
    fixed = make_label(comparison, id="z", ranking=[[3], [2], [1], [0]], revision=1, revision_of=label.id)
    ledger.redis.xadd(keys.LABELS, {"record": encode(fixed)})
    return ledger


def rows(ledger: Ledger, format: str = "whetstone") -> list[dict[str, object]]:
    content = b"".join(exchange.export(ledger, format))
    return json.loads(content) if FORMATS[format].array else [json.loads(line) for line in content.splitlines()]


def test_a_comparison_is_a_row_with_all_that_was_said_of_it(filled: Ledger) -> None:
    found = rows(filled)
    assert [len(row["comparisons"]) for row in found] == [12, 6, 6]
    assert [row["id"] for row in found] == sorted(row["id"] for row in found)
    assert {each["annotator"] for each in found[0]["comparisons"]} == {"lee", "ann"}
    last = {(each["a"], each["b"]): each["winner"] for each in found[2]["comparisons"]}
    assert last[0, 1] == "b", "the correction counts"
    assert (found[0]["labeler_group"], found[0]["customer"], found[0]["split"]) == ("training", "c0", "train")


@pytest.mark.parametrize("format", WRITABLE)
def test_every_format_is_written_whole_and_the_same_twice(filled: Ledger, format: str) -> None:
    found = rows(filled, format)
    assert found
    assert rows(filled, format) == found


@pytest.mark.parametrize("format", WRITABLE)
def test_an_empty_ledger_gives_an_empty_file(ledger: Ledger, format: str) -> None:
    assert rows(ledger, format) == []


@pytest.mark.parametrize("format", TWO_WAYS)
def test_what_was_exported_is_imported_with_the_same_content(filled: Ledger, tmp_path: Path, format: str) -> None:
    for name in (format, "whetstone"):
        (tmp_path / name).write_bytes(b"".join(exchange.export(filled, name)))
    made = exchange.take(filled, tmp_path / format, "back", format)
    assert (made.labels, made.quarantined) == (4, {})
    mine = {each.id for each in comparisons_of(filled)}
    again = exchange.take(filled, tmp_path / "whetstone", "back", "whetstone")
    assert again.labels == (3 if format == "label-studio" else 0), "only Label Studio has no place for scores"
    assert {each.id for each in comparisons_of(filled)} == mine, "ids follow from the content: it is the same"


def comparisons_of(ledger: Ledger) -> Iterator[object]:
    return filter(None, comparisons.get_many(ledger, [label.comparison_id for _, label in labels.read(ledger)]))


def test_pages_are_seamless(filled: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows(filled)
    monkeypatch.setattr(exporting, "PAGE", 1)
    assert rows(filled) == whole


def test_memory_does_not_grow_with_the_texts(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "PAGE", 20)
    with ledger.redis.pipeline(transaction=False) as line:
        for number in range(1000):
            texts = [make_completion(f"{number} {index} " + "words " * 1500) for index in range(2)]
            comparison = make_comparison(k=2, id=f"cmp_{number:04d}", completions=texts)
            line.set(keys.comparison(comparison.id), encode(comparison))
            line.xadd(keys.LABELS, {"record": encode(make_label(comparison))})
        line.execute()
    tracemalloc.start()
    written_bytes = sum(map(len, exchange.export(ledger)))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert written_bytes > 18_000_000
    assert peak_bytes < written_bytes / 3


def test_other_purposes_go_out_only_if_they_are_asked_for(filled: Ledger) -> None:
    comparison = open_comparison(filled, purpose="evaluation")
    lease = lease_next(filled, queue="evaluation")
    labels.submit(filled, make_label(comparison), comparison, lease.token)
    assert len(rows(filled)) == 3
    assert len(list(exporting.items(filled, ("evaluation",)))) == 1


def test_erased_and_unwilling_customers_stay_here(filled: Ledger, tmp_path: Path) -> None:
    erasure.request(filled, "c0", "olga")
    _, key = access.create(filled, "client", "c1")
    access.adjust(filled, key.id, consent=False)
    assert [row["customer"] for row in rows(filled)] == ["c2"]


def test_votes_are_masked_on_their_way_out(ledger: Ledger) -> None:
    a, b = (make_interaction("I am jo@acme.org", completion=text) for text in ("Hello jo@acme.org!", "Hi"))
    pair = votes.to_comparison("cmp_vote", "pro_1", "train", a, b)
    votes.take(ledger, pair, votes.to_label("vot_1", pair, "a", blind=True), keys.battle_vote("b1"))
    [row] = rows(ledger)
    assert row["labeler_group"] == "customer"
    assert "jo@acme.org" not in str(row)


@pytest.mark.parametrize("format", ["", "open-webui", "*", "../x"])
def test_a_format_that_cannot_be_written_is_refused_at_once(ledger: Ledger, format: str) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        exchange.export(ledger, format)
