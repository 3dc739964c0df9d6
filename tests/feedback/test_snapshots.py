"""Snapshots: every label inside or named with its reason; the same content gives the same bytes."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from feedback import artifacts, demonstrations, keys, labels, prompts, snapshots, votes
from feedback.client import Ledger
from feedback.curation import text_sha256
from feedback.errors import ArtifactCorrupt, NotFound
from feedback.records import Comparison, Label
from tests.builders import (
    lease_next,
    make_comparison,
    make_demonstration,
    make_interaction,
    make_label,
    make_prompt,
    open_comparison,
)

FILES = ("comparisons.parquet", "demonstrations.parquet", "prompts.parquet")


def give_label(ledger: Ledger, labeler: str = "lee", **changes: object) -> tuple[Label, Comparison]:
    comparison = open_comparison(ledger)
    made = make_label(comparison, labeler=labeler, **changes)
    labels.submit(ledger, made, comparison, lease_next(ledger, labeler).token)
    return made, comparison


def fill(ledger: Ledger) -> list[Label]:
    """Put labels of two labelers, a demonstration and three prompts into the ledger."""
    given = [give_label(ledger, labeler)[0] for labeler in ("lee", "ann", "lee", "lee")]
    prompt = make_prompt()
    for number in (3, 1, 2):
        each = make_prompt(f"Question {number} 🦊?", id=f"pro_{number}")
        prompts.keep(ledger, each, text_sha256(each.messages), 200)
    demonstrations.request(ledger, prompt)
    token = lease_next(ledger, queue=demonstrations.QUEUE).token
    demonstrations.submit(ledger, make_demonstration(prompt), token)
    return given


def test_an_empty_ledger_gives_an_empty_but_whole_snapshot(ledger: Ledger, tmp_path: Path) -> None:
    made = snapshots.build(ledger, tmp_path)
    assert (made.comparisons, made.demonstrations, made.prompts) == (0, 0, 0)
    for name in FILES:
        assert pq.read_table(tmp_path / made.path / name).num_rows == 0
    artifacts.verify(tmp_path / made.path, made.sha256)


def test_all_that_people_gave_is_inside_and_counted(ledger: Ledger, tmp_path: Path) -> None:
    given = fill(ledger)
    made = snapshots.build(ledger, tmp_path)
    assert made.labels == [label.id for label in given]
    assert made.left_out == {}
    assert (made.comparisons, made.demonstrations, made.prompts) == (4, 1, 3)
    rows = {name: pq.read_table(tmp_path / made.path / name).to_pylist() for name in FILES}
    assert [row["id"] for row in rows["comparisons.parquet"]] == made.labels
    assert [row["id"] for row in rows["prompts.parquet"]] == ["pro_1", "pro_2", "pro_3"]
    assert rows["prompts.parquet"][0]["messages"] == [{"role": "user", "content": "Question 1 🦊?"}]
    assert rows["demonstrations.parquet"][0]["response"] == "A pear."
    assert snapshots.get(ledger, made.id) == made
    assert snapshots.list_snapshots(ledger) == [made]


def test_every_label_is_inside_or_left_out_with_its_reason(ledger: Ledger, tmp_path: Path) -> None:
    given = fill(ledger)
    gone, comparison = give_label(ledger, "ann")
    ledger.redis.delete(keys.comparison(comparison.id))
    made = snapshots.build(ledger, tmp_path, most_per_labeler=2)
    assert made.left_out == {given[3].id: "labeler cap", gone.id: "comparison is gone"}
    assert made.labels == [label.id for label in given[:3]]
    assert set(made.labels) | set(made.left_out) == {label.id for _, label in labels.read(ledger)}
    assert made.comparisons == len(made.labels)


def test_a_row_holds_the_texts_the_pairs_and_who_said_so() -> None:
    comparison = make_comparison(k=3)
    label = make_label(comparison, ranking=[[2], [0, 1]], labeler="ann", labeler_group="held-out")
    row = snapshots.comparison_row(label, comparison)
    assert row["responses"][0] == {"text": "Fruit 0.", "model": "policy-0000", "finished": True}
    assert row["comparisons"] == [
        {"a": 0, "b": 1, "winner": "tie", "annotator": "ann"},
        {"a": 0, "b": 2, "winner": "b", "annotator": "ann"},
        {"a": 1, "b": 2, "winner": "b", "annotator": "ann"},
    ]
    assert (row["customer"], row["split"], row["labeler_group"]) == ("acme", "train", "held-out")
    assert row["comparison_id"] == comparison.id


def test_the_same_ledger_gives_the_same_bytes(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    first, second = snapshots.build(ledger, tmp_path), snapshots.build(ledger, tmp_path)
    assert first.id != second.id
    assert first.sha256 == second.sha256
    for name in FILES:
        assert (tmp_path / first.path / name).read_bytes() == (tmp_path / second.path / name).read_bytes()


def test_a_later_label_makes_a_new_snapshot_and_leaves_the_old_one_alone(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    first = snapshots.build(ledger, tmp_path)
    late, _ = give_label(ledger)
    second = snapshots.build(ledger, tmp_path)
    assert second.sha256 != first.sha256
    assert second.labels == [*first.labels, late.id]
    artifacts.verify(tmp_path / first.path, first.sha256)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_noticed_in_every_file(ledger: Ledger, tmp_path: Path, name: str) -> None:
    fill(ledger)
    made = snapshots.build(ledger, tmp_path)
    path = tmp_path / made.path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ArtifactCorrupt, match=name):
        artifacts.verify(tmp_path / made.path, made.sha256)


def test_an_unknown_snapshot_is_not_found_by_name(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="snp_none"):
        snapshots.get(ledger, "snp_none")


def test_customers_votes_stay_within_their_share_and_take_turns() -> None:
    comparison = make_comparison(k=2)
    labelers = [make_label(comparison, id=f"lbl_{n}", ranking=[[0], [1]]) for n in range(18)]
    votes = [
        make_label(comparison, id=id, labeler=id[0], labeler_group="customer", ranking=[[0], [1]])
        for id in ("a1", "a2", "a3", "b1", "c1")
    ]
    pairs = [(label, comparison) for label in [*votes[:3], *labelers, *votes[3:]]]
    kept, left_out = snapshots.limit_votes(pairs, 0.1)
    assert [label.id for label, _ in kept] == ["a1", *(label.id for label in labelers), "b1"]
    assert left_out == dict.fromkeys(["a2", "a3", "c1"], "customers' share")
    assert snapshots.limit_votes(pairs, 0.5) == (pairs, {})
    assert [label.id for label, _ in snapshots.limit_votes(pairs[:3], 0.1)[0]] == []


def test_a_vote_beyond_the_share_is_named_in_the_snapshot(ledger: Ledger, tmp_path: Path) -> None:
    a, b = make_interaction(), make_interaction(completion="A stone.")
    pair = votes.to_comparison("cmp_vote", "pro_1", "train", a, b)
    votes.take(ledger, pair, votes.to_label("vot_1", pair, "a", blind=True), keys.battle_vote("b1"))
    assert snapshots.build(ledger, tmp_path).left_out == {"vot_1": "customers' share"}
    given = [give_label(ledger, f"labeler {n}")[0].id for n in range(9)]
    made = snapshots.build(ledger, tmp_path)
    assert (made.labels, made.left_out) == (["vot_1", *given], {})
    [row] = [row for row in pq.read_table(tmp_path / made.path / FILES[0]).to_pylist() if row["id"] == "vot_1"]
    assert (row["labeler_group"], row["comparisons"][0]["winner"]) == ("customer", "a")
