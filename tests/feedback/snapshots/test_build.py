"""Snapshots: every label inside or named with its reason; the same content gives the same bytes."""

from pathlib import Path

import pyarrow.parquet as pq

from feedback import (
    access,
    artifacts,
    copies,
    demonstrations,
    keys,
    labelers,
    labels,
    prompts,
    reconcile,
    reviews,
    snapshots,
    votes,
)
from feedback.client import Ledger, encode
from feedback.curation import text_of
from feedback.records import Comparison, Label
from tests.builders import (
    NOON,
    lease_next,
    make_demonstration,
    make_interaction,
    make_label,
    make_messages,
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
        prompts.keep(ledger, each, text_of(each.messages), 200)
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
    made = snapshots.build(ledger, tmp_path)
    assert made.left_out == {gone.id: "comparison is gone"}
    assert made.labels == [label.id for label in given]
    assert made.quarantined == {"comparisons": {"comparison is gone": 1}}
    assert set(made.labels) | set(made.left_out) == {label.id for _, label in labels.read(ledger)}
    assert made.comparisons == len(made.labels)


def test_the_same_ledger_gives_the_same_bytes(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    first, second = snapshots.build(ledger, tmp_path), snapshots.build(ledger, tmp_path)
    assert first.id != second.id
    assert first.sha256 == second.sha256
    assert first.content_sha256 == second.content_sha256 != ""
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


def test_a_vote_beyond_the_share_is_named_in_the_snapshot(ledger: Ledger, tmp_path: Path) -> None:
    a, b = make_interaction(), make_interaction(completion="A stone.")
    pair = votes.to_comparison("cmp_vote", "pro_1", "train", a, b)
    votes.take(ledger, pair, votes.to_label("vot_1", pair, "a", blind=True), keys.battle_vote("b1"))
    assert snapshots.build(ledger, tmp_path).left_out == {"vot_1": "customers' share"}
    given = [give_label(ledger, f"labeler {n}")[0].id for n in range(9)]
    made = snapshots.build(ledger, tmp_path)
    assert (made.labels, made.left_out) == ([*given, "vot_1"], {})
    [row] = [row for row in pq.read_table(tmp_path / made.path / FILES[0]).to_pylist() if row["id"] == "vot_1"]
    assert (row["labeler_group"], row["comparisons"][0]["winner"]) == ("customer", "a")


def test_what_is_restored_in_another_order_gives_the_same_content(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    before = snapshots.build(ledger, tmp_path)
    entries = ledger.redis.xrange(keys.LABELS)
    ledger.redis.delete(keys.LABELS)
    for _, fields in reversed(entries):
        ledger.redis.xadd(keys.LABELS, fields)
    after = snapshots.build(ledger, tmp_path)
    assert (after.sha256, after.content_sha256) == (before.sha256, before.content_sha256)


def test_what_is_restored_from_the_archive_gives_the_same_bytes(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    pool = ledger.redis.hgetall(keys.PROMPTS)
    before = snapshots.build(ledger, tmp_path)
    copies.copy(ledger, tmp_path)
    ledger.redis.flushall()
    reconcile.restore(ledger, tmp_path)
    ledger.redis.hset(keys.PROMPTS, mapping=pool)  # prompts are in Redis' own files, not in the second copy of answers
    after = snapshots.build(ledger, tmp_path)
    assert (after.comparisons, after.demonstrations) == (4, 1)
    assert (after.sha256, after.content_sha256) == (before.sha256, before.content_sha256)


def test_only_the_last_revision_trains_and_the_first_is_accounted_for(ledger: Ledger, tmp_path: Path) -> None:
    first, comparison = give_label(ledger)
    corrected = make_label(comparison, id="sub_x", ranking=[[3], [2], [1], [0]], revision=1, revision_of=first.id)
    ledger.redis.xadd(keys.LABELS, {"record": encode(corrected)})
    made = snapshots.build(ledger, tmp_path)
    assert (made.labels, made.left_out) == (["sub_x"], {first.id: "superseded"})


def test_a_reviewers_ranking_goes_in_once_instead_of_the_labels(ledger: Ledger, tmp_path: Path) -> None:
    comparison = open_comparison(ledger, overlap=2)
    given = [make_label(comparison, labeler=name, ranking=order) for name, order in
             (("lee", [[0], [1], [2], [3]]), ("ann", [[3], [2], [1], [0]]))]  # fmt: skip
    for label in given:
        labels.submit(ledger, label, comparison, lease_next(ledger, label.labeler).token)
    reviews.open_review(ledger, comparison.id, "disagreement")
    reviews.resolve(ledger, comparison.id, "ranked", "olga", ranking=[[1], [0], [2, 3]])
    made = snapshots.build(ledger, tmp_path)
    assert made.left_out == dict.fromkeys((label.id for label in given), "adjudicated")
    [row] = pq.read_table(tmp_path / made.path / FILES[0]).to_pylist()
    assert (made.labels, made.adjudications) == ([], [row["id"]])
    assert {each["annotator"] for each in row["comparisons"]} == {"reviewer"}
    assert "olga" not in str(row)


def test_withdrawn_consent_takes_everything_of_that_key_out_of_the_next_snapshot(
    ledger: Ledger, tmp_path: Path
) -> None:
    fill(ledger)
    _, key = access.create(ledger, "client", "acme")
    assert snapshots.build(ledger, tmp_path).comparisons == 4
    access.adjust(ledger, key.id, consent=False)
    made = snapshots.build(ledger, tmp_path)
    assert (made.comparisons, made.demonstrations, made.prompts) == (0, 0, 0)
    assert made.quarantined == {
        "comparisons": {"consent withdrawn": 4},
        "demonstrations": {"consent withdrawn": 1},
        "prompts": {"consent withdrawn": 3},
    }
    access.create(ledger, "client", "acme")
    assert snapshots.build(ledger, tmp_path).comparisons == 4, "another key of the customer says yes"


def test_a_quarantined_labelers_labels_stay_out_until_the_quarantine_is_lifted(ledger: Ledger, tmp_path: Path) -> None:
    given = fill(ledger)
    labelers.pause(ledger, "lee", "audit", "gold", NOON)
    made = snapshots.build(ledger, tmp_path)
    assert made.labels == [given[1].id]
    assert set(made.left_out.values()) == {"labeler in quarantine"}
    assert made.demonstrations == 0
    labelers.resume(ledger, "lee", "olga", lift=True)
    assert snapshots.build(ledger, tmp_path).comparisons == 4


def test_a_snapshot_without_somebody_differs_by_just_their_rows(ledger: Ledger, tmp_path: Path) -> None:
    given = fill(ledger)
    whole = snapshots.build(ledger, tmp_path)
    part = snapshots.build(ledger, tmp_path, without=["labeler:lee"])
    assert part.without == ["labeler:lee"]
    assert part.labels == [given[1].id]
    found = snapshots.compare(whole, part, tmp_path)
    assert found.gained == {}
    assert found.reasons == {
        "comparisons": {"without labeler:lee": 3},
        "demonstrations": {"without labeler:lee": 1},
    }


def test_a_prompt_on_both_sides_of_the_split_trains_nothing(ledger: Ledger, tmp_path: Path) -> None:
    held_out = make_prompt("Who won?", id="pro_9", customer="other", split="valid")
    prompts.keep(ledger, held_out, "pro_9", 200)
    comparison = open_comparison(ledger, messages=make_messages("who  WON?"))
    label = make_label(comparison)
    labels.submit(ledger, label, comparison, lease_next(ledger).token)
    made = snapshots.build(ledger, tmp_path)
    assert (made.labels, made.left_out) == ([], {label.id: "leak"})
    assert made.prompts == 1


def test_votes_are_masked_because_nobody_curated_them(ledger: Ledger, tmp_path: Path) -> None:
    for n in range(9):
        give_label(ledger, f"labeler {n}")
    a = make_interaction("Write to jo@acme.org.", completion="Dear jo@acme.org,")
    b = make_interaction("Write to jo@acme.org.", completion="No.")
    pair = votes.to_comparison("cmp_vote", "pro_1", "train", a, b)
    votes.take(ledger, pair, votes.to_label("vot_1", pair, "a", blind=True), keys.battle_vote("b1"))
    made = snapshots.build(ledger, tmp_path)
    [row] = [row for row in pq.read_table(tmp_path / made.path / FILES[0]).to_pylist() if row["id"] == "vot_1"]
    assert "jo@acme.org" not in str(row)
    assert row["responses"][0]["text"] == "Dear <EMAIL_1>,"
