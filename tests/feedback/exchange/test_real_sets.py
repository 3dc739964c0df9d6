"""Published sets: all of them import without a line lost, and their published agreement comes out of the ledger."""

from pathlib import Path

import pytest

from feedback import exchange, labels
from feedback.client import Ledger
from feedback.quality import agreement
from feedback.quality.agreement import Vote

pytestmark = pytest.mark.redis
SETS = {
    "hh-harmless": (1726, 1726, 1726),
    "llmfao-crowd": (10, 1635, 6827),
    "mtbench-human": (128, 1004, 2421),
    "oasst-ranked": (146, 146, 146),
    "pandalm-3annotators": (736, 736, 2208),
    "qa-feedback-k4": (385, 465, 465),
}
"""Set -> rows, comparisons, labels. In ``llmfao-crowd`` and ``mtbench-human`` people judged single pairs of many
completions, and 16 rows of ``qa-feedback-k4`` have ties that no order says: these are taken apart into pairs."""


def taken(ledger: Ledger, data_root: Path, name: str) -> exchange.Summary:
    return exchange.take(ledger, data_root / f"pref-{name}" / "comparisons.jsonl.gz", name)


def votes(ledger: Ledger) -> list[Vote]:
    """Return what the ledger's labels say, pair by pair."""
    return [
        Vote(label.comparison_id, (a, b), label.labeler, winner)  # type: ignore[arg-type]
        for _, label in labels.current(ledger)
        for a, b, winner in labels.pairs(label.ranking)
    ]


@pytest.mark.parametrize("name", SETS)
def test_a_set_imports_whole_and_once(ledger: Ledger, data_root: Path, name: str) -> None:
    made = taken(ledger, data_root, name)
    assert (made.rows, made.comparisons, made.labels, made.quarantined) == (*SETS[name], {})


@pytest.mark.parametrize("name", ["pandalm-3annotators", "oasst-ranked"])
@pytest.mark.parametrize("format", ["whetstone", "rankings", "argilla", "label-studio"])
def test_a_set_that_was_exported_is_the_same_set(
    ledger: Ledger, data_root: Path, tmp_path: Path, name: str, format: str
) -> None:
    first = taken(ledger, data_root, name)
    path = tmp_path / "out"
    path.write_bytes(b"".join(exchange.export(ledger, format)))
    again = exchange.take(ledger, path, name, format)
    assert (again.labels, again.quarantined) == (0, {})
    assert again.known == first.labels


def test_pandalms_published_agreement_comes_out_of_the_ledger(ledger: Ledger, data_root: Path) -> None:
    taken(ledger, data_root, "pandalm-3annotators")
    found = votes(ledger)
    names = [f"import:pandalm-3annotators:annotator{number}" for number in (1, 2, 3)]
    pairs = [(names[0], names[1]), (names[0], names[2]), (names[1], names[2])]
    assert [round(agreement.kappa(found, *pair), 3) for pair in pairs] == [0.864, 0.884, 0.865]
    assert round(agreement.alpha(found, resamples=2).value or 0, 3) == 0.871
    assert round(agreement.unanimous(found, 3), 3) == 0.886


def test_mt_benchs_published_agreement_comes_out_of_the_ledger(ledger: Ledger, data_root: Path) -> None:
    taken(ledger, data_root, "mtbench-human")
    found = votes(ledger)
    people = [vote for vote in found if ":human:" in vote.labeler]
    model = [vote for vote in found if ":model:" in vote.labeler]
    assert len(people) + len(model) == 2421
    assert round(agreement.pairwise(people).value or 0, 3) == 0.830
    assert round(agreement.pairwise(people, ties=True).value or 0, 3) == 0.637
    assert round(agreement.between(model, people).value or 0, 3) == 0.862
    assert round(agreement.between(model, people, ties=True).value or 0, 3) == 0.680


def test_the_crowds_published_agreement_comes_out_of_the_ledger(ledger: Ledger, data_root: Path) -> None:
    taken(ledger, data_root, "llmfao-crowd")
    found = votes(ledger)
    assert round(agreement.pairwise(found, ties=True).value or 0, 3) == 0.509
    assert round(agreement.pairwise(found).value or 0, 3) == 0.696
    assert round(agreement.alpha(found, resamples=2).value or 0, 3) == 0.263
