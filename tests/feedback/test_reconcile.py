"""What the ledger loses is found and written back from the second copy; what was erased stays away."""

import random
from pathlib import Path

import pytest

from feedback import (
    archives,
    comparisons,
    copies,
    demonstrations,
    erasure,
    keys,
    labels,
    reconcile,
    reviews,
    segments,
    submissions,
)
from feedback.client import Ledger, encode
from feedback.records import Demonstration, Label
from tests.builders import NOON, lease_next, make_demonstration, make_label, make_prompt, open_comparison
from tests.feedback.life import Life, archive_text


def work(ledger: Ledger, items: int = 3) -> list[Label]:
    """Have some comparisons ranked, one of them corrected, one adjudicated, and a demonstration written."""
    made = []
    for number in range(items):
        comparison = open_comparison(ledger, customer="other")
        made.append(make_label(comparison, labeler=f"lee-{number}"))
        labels.submit(ledger, made[-1], comparison, lease_next(ledger, f"lee-{number}").token)
    last = make_label(comparison, labeler=made[-1].labeler, note="hm", revision=1, revision_of=made[-1].id)
    labels.revise(ledger, last, comparison)
    reviews.open_review(ledger, comparison.id, "disagreement")
    reviews.resolve(ledger, comparison.id, "ranked", "olga", ranking=[[0], [1], [2], [3]], note="clear")
    prompt = make_prompt(customer="other")
    demonstrations.request(ledger, prompt)
    token = lease_next(ledger, "lee", demonstrations.QUEUE).token
    demonstrations.submit(ledger, make_demonstration(prompt), token)
    return [*made, last]


def state(ledger: Ledger) -> dict[str, list[object]]:
    return {name: list(ledger.stream(each.stream, each.kind)) for name, each in copies.SOURCES.items()}


def agree(ledger: Ledger, root: Path) -> bool:
    return all(finding.agrees for finding in reconcile.compare(ledger, root))


def find(ledger: Ledger, root: Path, name: str = "labels") -> reconcile.Finding:
    return next(finding for finding in reconcile.compare(ledger, root) if finding.name == name)


def test_what_was_copied_agrees_and_what_is_younger_waits(ledger: Ledger, tmp_path: Path) -> None:
    work(ledger)
    assert find(ledger, tmp_path).waiting == 4
    copies.copy(ledger, tmp_path)
    found = find(ledger, tmp_path)
    assert (found.in_ledger, found.in_copy, found.waiting) == (4, 4, 0)
    work(ledger, 1)
    assert find(ledger, tmp_path).waiting == 2
    assert agree(ledger, tmp_path)


def test_a_ledger_that_was_emptied_gets_everything_back(ledger: Ledger, tmp_path: Path) -> None:
    made = work(ledger)
    before = state(ledger)
    found = [comparisons.get(ledger, label.comparison_id) for label in made]
    copies.copy(ledger, tmp_path)
    ledger.redis.flushall()
    assert len(find(ledger, tmp_path).lost) == 4
    assert reconcile.restore(ledger, tmp_path) == {
        "labels": 4,
        "demonstrations": 1,
        "adjudications": 1,
        "comparisons": 3,
    }
    assert state(ledger) == before
    assert [comparisons.get(ledger, label.comparison_id) for label in made] == found
    assert agree(ledger, tmp_path)
    assert reconcile.restore(ledger, tmp_path) == {}, "a second time there is nothing left to do"
    assert sum(copies.copy(ledger, tmp_path).values()) == 0, "what is back is not copied again"
    assert labels.count(ledger) == 3


def test_after_a_restore_retries_corrections_and_views_know_the_answers(ledger: Ledger, tmp_path: Path) -> None:
    made = work(ledger)
    copies.copy(ledger, tmp_path)
    ledger.redis.flushall()
    reconcile.restore(ledger, tmp_path)
    comparison = comparisons.get(ledger, made[0].comparison_id)
    again = labels.submit(ledger, made[0], comparison, token=1)
    assert again.repeated
    better = make_label(comparison, labeler="lee-0", ranking=[[3, 2], [1, 0]], revision=1, revision_of=made[0].id)
    assert not labels.revise(ledger, better, comparison).repeated
    assert labels.of(ledger, comparison.id) == [better]
    assert submissions.recent(ledger, "lee-0", 10) == [made[0].id]


def test_single_losses_are_found_and_written_back_behind_what_came_since(ledger: Ledger, tmp_path: Path) -> None:
    made = work(ledger)
    copies.copy(ledger, tmp_path)
    entry = next(entry_id for entry_id, label in labels.read(ledger) if label.id == made[1].id)
    ledger.redis.xdel(keys.LABELS, entry)
    assert find(ledger, tmp_path).lost == [made[1].id]
    assert not agree(ledger, tmp_path)
    assert reconcile.restore(ledger, tmp_path) == {"labels": 1}
    assert [label for _, label in labels.read(ledger)][-1] == made[1]
    copies.copy(ledger, tmp_path)
    assert agree(ledger, tmp_path)


def test_a_record_that_differs_or_is_there_twice_is_named(ledger: Ledger, tmp_path: Path) -> None:
    made = work(ledger)
    copies.copy(ledger, tmp_path)
    entry = next(entry_id for entry_id, label in labels.read(ledger) if label.id == made[0].id)
    changed = make_label(comparisons.get(ledger, made[0].comparison_id), id=made[0].id, note="forged")
    ledger.redis.xdel(keys.LABELS, entry)
    ledger.redis.xadd(keys.LABELS, {"record": encode(changed)})
    ledger.redis.xadd(keys.LABELS, {"record": encode(made[1])})
    found = find(ledger, tmp_path)
    assert (found.different, found.duplicated, found.lost) == ([made[0].id], [made[1].id], [])
    assert reconcile.restore(ledger, tmp_path) == {}, "which of the two is right is for a person to say"


def test_what_is_missing_in_the_copy_is_named(ledger: Ledger, tmp_path: Path) -> None:
    made = work(ledger)
    copies.copy(ledger, tmp_path)
    directory = tmp_path / "archive/labels"
    (path,) = archives.segments(directory)
    rows, _ = segments.read(path)
    segments.write(path, rows[1:], "-")
    assert find(ledger, tmp_path).uncopied == [made[0].id]


def test_damage_is_told_and_the_other_segments_count(ledger: Ledger, tmp_path: Path) -> None:
    work(ledger)
    copies.copy(ledger, tmp_path)
    work(ledger, 1)
    copies.copy(ledger, tmp_path)
    path = archives.segments(tmp_path / "archive/labels")[0]
    whole = bytearray(path.read_bytes())
    whole[random.Random(1).randrange(30, len(whole) - 10)] ^= 0xFF
    path.write_bytes(whole)
    found = find(ledger, tmp_path)
    assert any(path.name in line for line in found.damage)
    assert len(found.uncopied) == 4
    assert not agree(ledger, tmp_path)


@pytest.mark.parametrize("emptied", [True, False])
def test_what_was_erased_is_no_difference_and_does_not_come_back(ledger: Ledger, tmp_path: Path, emptied: bool) -> None:
    work(ledger, 1)
    Life(ledger, tmp_path, "acme", NOON)
    copies.copy(ledger, tmp_path)
    erasure.erase(ledger, tmp_path, "acme", "olga")
    assert agree(ledger, tmp_path)
    if emptied:
        ledger.redis.delete(keys.LABELS, keys.DEMONSTRATIONS)
        assert reconcile.restore(ledger, tmp_path)
    copies.copy(ledger, tmp_path)
    assert agree(ledger, tmp_path)
    texts = [encode(record) for records in state(ledger).values() for _, record in records]  # type: ignore[misc]
    assert not any("ACME" in text for text in texts)
    assert "ACME" not in archive_text(tmp_path)


def test_an_erasure_that_has_not_reached_the_copy_yet_is_no_difference(ledger: Ledger, tmp_path: Path) -> None:
    from feedback import scrub, tombstones

    Life(ledger, tmp_path, "acme", NOON)
    copies.copy(ledger, tmp_path)
    mark = tombstones.put(ledger, "acme", NOON.timestamp() + 1)
    scrub.comparisons(ledger, mark)
    scrub.demonstrations(ledger, mark)
    found = find(ledger, tmp_path, "demonstrations")
    assert (found.lost, found.erased) == ([], 1)
    assert reconcile.restore(ledger, tmp_path) == {}
    assert list(ledger.stream(keys.DEMONSTRATIONS, Demonstration)) == []
