"""Gathering: the latest labels as they count now, with what their labelers saw."""

from feedback import keys, labels, votes
from feedback.client import Ledger, encode
from feedback.quality import gathering
from feedback.records import Comparison, Label
from tests.builders import make_completion, make_label, open_comparison


def append(ledger: Ledger, label: Label) -> None:
    ledger.redis.xadd(keys.LABELS, {"record": encode(label)})


def labelled(ledger: Ledger, name: str = "lee", **changes: object) -> Comparison:
    comparison = open_comparison(ledger, **changes)
    append(ledger, make_label(comparison, labeler=name, purpose=comparison.purpose))
    return comparison


def test_a_label_comes_with_words_purpose_and_subject(ledger: Ledger) -> None:
    comparison = labelled(ledger, completions=[make_completion("one two three"), make_completion("one")], k=2)
    found = gathering.gather(ledger, 100)
    assert [each.facts for each in found.given] == [gathering.Facts([3, 1], "training", comparison.id, "", 1)]
    assert found.through == gathering.last_entry(ledger)


def test_only_the_last_revision_counts(ledger: Ledger) -> None:
    comparison = labelled(ledger)
    first = next(label for _, label in labels.read(ledger))
    append(ledger, make_label(comparison, ranking=[[3], [2], [1], [0]], revision=1, revision_of=first.id))
    (found,) = gathering.gather(ledger, 100).given
    assert found.label.ranking == [[3], [2], [1], [0]]


def test_the_window_holds_the_latest(ledger: Ledger) -> None:
    ids = [labelled(ledger).id for _ in range(5)]
    found = gathering.gather(ledger, 2)
    assert [each.label.comparison_id for each in found.given] == ids[-2:]


def test_facts_are_remembered_and_forgotten(ledger: Ledger) -> None:
    first = labelled(ledger)
    known: dict[str, gathering.Facts] = {}
    gathering.gather(ledger, 1, known)
    assert set(known) == {first.id}
    ledger.redis.delete(keys.comparison(first.id))
    assert len(gathering.gather(ledger, 1, known).given) == 1
    second = labelled(ledger)
    gathering.gather(ledger, 1, known)
    assert set(known) == {second.id}


def test_labels_of_erased_comparisons_are_left_out(ledger: Ledger) -> None:
    ledger.redis.delete(keys.comparison(labelled(ledger).id))
    kept = labelled(ledger)
    assert [each.label.comparison_id for each in gathering.gather(ledger, 10).given] == [kept.id]


def test_a_check_counts_as_a_label_of_what_it_repeats(ledger: Ledger) -> None:
    original = labelled(ledger, "kim")
    label = make_label(original)
    checked = gathering.Given(label, gathering.Facts([1] * 4, "gold", original.id, ""))
    repeat = gathering.Given(label, gathering.Facts([1] * 4, "repeat", original.id, ""))
    window = gathering.Window([*gathering.gather(ledger, 10).given, checked, repeat], "")
    assert {item: [each.label.labeler for each in given] for item, given in window.of_items().items()} == {
        original.id: ["kim", "lee"]
    }


def test_nothing_is_an_empty_window(ledger: Ledger) -> None:
    assert gathering.gather(ledger, 10) == gathering.Window([], "")
    assert gathering.last_entry(ledger) == ""


def test_a_customer_who_votes_is_no_labeler(ledger: Ledger) -> None:
    comparison = labelled(ledger)
    append(ledger, make_label(comparison, labeler="acme", labeler_group=votes.GROUP))
    assert set(gathering.gather(ledger, 10).of_people()) == {"lee"}
