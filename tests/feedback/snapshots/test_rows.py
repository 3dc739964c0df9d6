"""Rows: what the trainer reads of a record, and hashes that say whether two are the same."""

from feedback.records import Adjudication
from feedback.snapshots import rows
from tests.builders import NOON, make_comparison, make_demonstration, make_label, make_prompt


def test_a_row_holds_the_texts_the_pairs_and_who_said_so() -> None:
    comparison = make_comparison(k=3)
    label = make_label(comparison, ranking=[[2], [0, 1]], labeler="ann", labeler_group="held-out")
    row = rows.comparison_row(label, comparison)
    assert row["responses"][0] == {"text": "Fruit 0.", "model": "policy-0000", "finished": True}
    assert row["comparisons"] == [
        {"a": 0, "b": 1, "winner": "tie", "annotator": "ann"},
        {"a": 0, "b": 2, "winner": "b", "annotator": "ann"},
        {"a": 1, "b": 2, "winner": "b", "annotator": "ann"},
    ]
    assert (row["customer"], row["split"], row["labeler_group"]) == ("acme", "train", "held-out")
    assert row["comparison_id"] == comparison.id


def test_every_row_has_the_columns_of_its_file_and_no_others() -> None:
    comparison, prompt = make_comparison(), make_prompt()
    made = {
        "comparisons": rows.comparison_row(make_label(comparison), comparison),
        "demonstrations": rows.demonstration_row(make_demonstration(prompt)),
        "prompts": rows.prompt_row(prompt),
    }
    assert {kind: set(row) for kind, row in made.items()} == {
        kind: set(schema.names) for kind, schema in rows.SCHEMAS.items()
    }
    assert rows.people_of(made["comparisons"]) == "customer:acme labeler:lee"
    assert rows.people_of(made["demonstrations"]) == "customer:acme labeler:lee"
    assert rows.people_of(made["prompts"]) == "customer:acme"


def test_the_hash_follows_the_content_and_not_the_order_of_fields() -> None:
    row = rows.prompt_row(make_prompt(id="pro_1"))
    assert rows.sha256_of(row) == rows.sha256_of(dict(reversed(row.items())))
    assert rows.sha256_of(row) != rows.sha256_of({**row, "split": "valid"})


def test_a_reviewers_ranking_becomes_a_label_without_a_name() -> None:
    said = Adjudication(id="adj_1", created_at=NOON, comparison_id="cmp_1", reviewer="olga", ranking=[[1], [0]])
    label = rows.as_label(said)
    assert (label.id, label.labeler, label.labeler_group, label.ranking) == (
        "adj_1",
        "reviewer",
        "reviewer",
        [[1], [0]],
    )
