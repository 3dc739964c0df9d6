"""The second copy holds what people judged, entry by entry, and no words that were erased."""

import fcntl
from pathlib import Path

from feedback import archives, copies, demonstration_reviews, demonstrations, erasure, labels, reviews
from feedback.client import Ledger, decode
from feedback.records import Comparison, Demonstration, DemonstrationReview, Label
from tests.builders import (
    NOON,
    lease_next,
    make_comparison,
    make_demonstration,
    make_label,
    make_prompt,
    open_comparison,
)
from tests.feedback.life import Life, archive_text


def label(ledger: Ledger, overlap: int = 1) -> Comparison:
    """Have a comparison ranked by as many labelers as it takes, and return it."""
    comparison = open_comparison(ledger, overlap=overlap)
    for number in range(overlap):
        labeler = f"lee-{number}"
        made = make_label(comparison, labeler=labeler)
        labels.submit(ledger, made, comparison, lease_next(ledger, labeler).token)
    return comparison


def test_each_entry_is_copied_once_with_its_comparison(ledger: Ledger, tmp_path: Path) -> None:
    first = label(ledger, overlap=2)
    assert copies.copy(ledger, tmp_path) == {
        "labels": 2,
        "demonstrations": 0,
        "adjudications": 0,
        "demonstration-reviews": 0,
        "comparisons": 1,
    }
    assert sum(copies.copy(ledger, tmp_path).values()) == 0
    second = label(ledger)
    assert sum(copies.copy(ledger, tmp_path).values()) == 2
    rows = list(archives.read(tmp_path / "archive/labels"))
    assert [(row.entry_id, decode(row.record, Label)) for row in rows] == list(labels.read(ledger))
    found = [decode(row.record, Comparison) for row in archives.read(tmp_path / "archive/comparisons")]
    assert found == [first, second]


def test_demonstrations_and_verdicts_on_them_are_copied_without_what_may_quote(ledger: Ledger, tmp_path: Path) -> None:
    prompt = make_prompt()
    demonstrations.request(ledger, prompt)
    made = make_demonstration(prompt)
    demonstrations.submit(ledger, made, lease_next(ledger, "lee", demonstrations.QUEUE).token)
    demonstration_reviews.review(ledger, made.id, "rejected", "olga", "it says ACME")
    written = copies.copy(ledger, tmp_path)
    assert (written["demonstrations"], written["demonstration-reviews"]) == (1, 1)
    (row,) = archives.read(tmp_path / "archive/demonstration-reviews")
    review = decode(row.record, DemonstrationReview)
    assert (review.demonstration_id, review.verdict, review.comment) == (made.id, "rejected", "")
    (row,) = archives.read(tmp_path / "archive/demonstrations")
    assert decode(row.record, Demonstration) == made


def test_two_do_not_copy_at_once(ledger: Ledger, tmp_path: Path) -> None:
    label(ledger)
    (tmp_path / "archive").mkdir()
    with (tmp_path / "archive/.answers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert copies.copy(ledger, tmp_path) == {}
    assert copies.copy(ledger, tmp_path)["labels"] == 1


def test_an_erasure_reaches_every_segment(ledger: Ledger, tmp_path: Path) -> None:
    life = Life(ledger, tmp_path, "acme", NOON)
    life_label = life.label
    copies.copy(ledger, tmp_path)
    assert "ACME" in archive_text(tmp_path)
    erasure.erase(ledger, tmp_path, life.customer, "olga")
    copies.copy(ledger, tmp_path)
    assert "ACME" not in archive_text(tmp_path)
    kept = [decode(row.record, Label) for row in archives.read(tmp_path / "archive/labels")]
    assert life_label.id in {each.id for each in kept}
    assert all(archives.faults(tmp_path / "archive" / name) == [] for name in (*copies.SOURCES, copies.COMPARISONS))


def test_what_an_erasure_covers_is_not_wanted(ledger: Ledger) -> None:
    from feedback import tombstones

    comparison = make_comparison()
    tombstones.put(ledger, comparison.customer, comparison.created_at.timestamp())
    erased = tombstones.read(ledger)
    assert not copies.wanted(comparison, erased)
    assert not copies.wanted(make_demonstration(make_prompt()), erased)
    assert copies.wanted(make_comparison(customer="other"), erased)
    assert copies.wanted(make_label(comparison), erased)


def test_adjudications_are_copied_and_lose_their_notes_with_the_customer(ledger: Ledger, tmp_path: Path) -> None:
    comparison = label(ledger)
    reviews.open_review(ledger, comparison.id, "disagreement", "they differ")
    reviews.resolve(ledger, comparison.id, "ranked", "olga", ranking=[[0], [1], [2], [3]], note="ACME says so")
    assert copies.copy(ledger, tmp_path)["adjudications"] == 1
    assert "ACME" in archive_text(tmp_path)
    erasure.erase(ledger, tmp_path, comparison.customer, "olga")
    copies.copy(ledger, tmp_path)
    assert "ACME" not in archive_text(tmp_path)
    assert {row.record for row in archives.read(tmp_path / "archive/adjudications")}
