"""An erased customer's words are nowhere, another's are where they were, and the receipt says what that was."""

import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from feedback import (
    archives,
    comparisons,
    erasure,
    interactions,
    keys,
    labels,
    leases,
    policies,
    promotion,
    prompts,
    snapshots,
    tombstones,
)
from feedback.client import Ledger, encode
from feedback.curation import text_of
from feedback.errors import InvalidRecord, LeaseLost, NotFound
from feedback.records import Erasure, Snapshot, utc_now
from feedback.tombstones import SETTLE_S
from tests.builders import (
    lease_next,
    make_completion,
    make_interaction,
    make_label,
    make_messages,
    make_policy,
    make_prompt,
    make_reward_model,
)
from tests.feedback.life import Life, archive_text, dump

pytestmark = pytest.mark.redis


@pytest.fixture
def lives(ledger: Ledger, tmp_path: Path) -> tuple[Life, Life]:
    made = utc_now() - timedelta(hours=1)
    return Life(ledger, tmp_path, "acme", made), Life(ledger, tmp_path, "other", made)


def much_later() -> float:
    return utc_now().timestamp() + SETTLE_S + 1


def test_no_word_of_the_customer_is_left_and_every_word_of_others_is(
    ledger: Ledger, tmp_path: Path, lives: tuple[Life, Life]
) -> None:
    others_before = dump(ledger).count("OTHER"), archive_text(tmp_path).count("OTHER")
    assert dump(ledger).count("ACME") == others_before[0], "both have the same to lose"
    assert archive_text(tmp_path).count("ACME") == others_before[1]
    receipt = erasure.erase(ledger, tmp_path, "acme", "olga")
    assert "ACME" not in dump(ledger)
    assert "ACME" not in archive_text(tmp_path)
    assert (dump(ledger).count("OTHER"), archive_text(tmp_path).count("OTHER")) == others_before
    assert receipt.counts == {
        "interactions": 1,
        "ratings": 1,
        "shares": 1,
        "battles": 1,
        "prompts": 4,
        "comparisons": 3,
        "demonstrations": 1,
        "label_notes": 1,
        "archived": 3,
    }


def test_queues_leases_and_counters_forget_too(ledger: Ledger, tmp_path: Path, lives: tuple[Life, Life]) -> None:
    acme, _ = lives
    skipped = lease_next(ledger, "ann")
    leases.release(ledger, skipped.item_id, "ann", skipped.token, "other", "ACME again")
    while (lease := lease_next(ledger, "max")).item_id != acme.open.id:
        leases.release(ledger, lease.item_id, "max", lease.token, "other", "ACME again")
    erasure.erase(ledger, tmp_path, "acme", "olga")
    with pytest.raises(LeaseLost):
        labels.submit(ledger, make_label(acme.open, labeler="max"), acme.open, lease.token)
    assert not comparisons.complete(ledger, acme.planned, [make_completion()] * 4), "a sampler comes too late"
    with pytest.raises(NotFound):
        comparisons.get(ledger, acme.planned.id)
    assert leases.live(ledger) == 0
    assert "ACME again" not in dump(ledger), "nor what labelers said of it"
    assert not ledger.redis.keys(f"*{acme.open.id}*")
    for queue in (keys.queue("training"), keys.queue_partial("training")):
        assert ledger.redis.zscore(queue, acme.open.id) is None
    assert comparisons.being_sampled(ledger) == 1
    assert ledger.redis.hgetall(keys.PROMPT_CUSTOMERS) == {"other": "4"}
    assert ledger.redis.zcard(keys.PROMPT_BEGINNINGS) == 4
    again = make_prompt("ACME asks for a fruit 0", customer="third")
    assert prompts.keep(ledger, again, text_of(again.messages), 100) == "kept", "the text is not known any more"


def test_a_snapshot_names_erased_labels_and_holds_none_of_the_customers_rows(
    ledger: Ledger, tmp_path: Path, lives: tuple[Life, Life]
) -> None:
    acme, other = lives
    erasure.erase(ledger, tmp_path, "acme", "olga")
    snapshot = snapshots.build(ledger, tmp_path)
    assert snapshot.labels == [other.label.id]
    assert snapshot.left_out == {acme.label.id: "erased"}
    assert (snapshot.prompts, snapshot.demonstrations) == (4, 1)


def test_a_snapshot_leaves_out_what_is_erased_even_before_the_first_pass(
    ledger: Ledger, tmp_path: Path, lives: tuple[Life, Life]
) -> None:
    acme, other = lives
    erasure.request(ledger, "acme", "olga")
    snapshot = snapshots.build(ledger, tmp_path)
    assert snapshot.left_out == {acme.label.id: "erased"}
    assert (snapshot.labels, snapshot.prompts, snapshot.demonstrations) == ([other.label.id], 4, 1)


def trained(ledger: Ledger, snapshot: Snapshot) -> None:
    """Register a base, a policy of the snapshot, one of a reward model of it, a child of that, and a stranger."""
    policies.add_reward_model(ledger, make_reward_model(id="rm_1", snapshot_id=snapshot.id))
    policies.register(ledger, make_policy("policy-0000"))
    policies.register(ledger, make_policy("policy-0001", kind="sft", snapshot_id=snapshot.id, parent="policy-0000"))
    policies.register(ledger, make_policy("policy-0002", kind="ppo", reward_model_id="rm_1", parent="policy-0000"))
    policies.register(ledger, make_policy("policy-0003", kind="ppo", parent="policy-0002"))
    policies.register(ledger, make_policy("policy-0004", kind="sft", snapshot_id="snp_other", parent="policy-0000"))


def test_the_receipt_lists_the_snapshots_with_the_customers_rows_and_the_policies_made_of_them(
    ledger: Ledger, tmp_path: Path, lives: tuple[Life, Life]
) -> None:
    stained = snapshots.build(ledger, tmp_path)
    trained(ledger, stained)
    receipt = erasure.erase(ledger, tmp_path, "acme", "olga")
    clean = snapshots.build(ledger, tmp_path)
    assert receipt.snapshots == [stained.id]
    assert receipt.policies == ["policy-0001", "policy-0002", "policy-0003"]
    assert clean.id not in erasure.work(ledger, tmp_path, receipt, much_later).snapshots


def test_a_snapshot_that_cannot_be_read_counts_as_stained(ledger: Ledger, tmp_path: Path) -> None:
    snapshot = snapshots.build(ledger, tmp_path)
    assert erasure.erase(ledger, tmp_path, "acme", "olga").snapshots == []
    (tmp_path / snapshot.path / "prompts.parquet").write_text("damaged")
    assert erasure.erase(ledger, tmp_path, "acme", "olga").snapshots == [snapshot.id]


def test_it_is_done_once_a_pass_after_everything_under_way_ended_finds_nothing(
    ledger: Ledger, tmp_path: Path, lives: tuple[Life, Life]
) -> None:
    acme, _ = lives
    receipt = erasure.erase(ledger, tmp_path, "acme", "olga")
    assert (receipt.state, receipt.passes) == ("running", 1)
    assert erasure.work_on_all(ledger, tmp_path) == [receipt], "too early for a second pass"
    acme.keep("ACME asks late, by a curator who had read it before", utc_now())
    [receipt] = erasure.work_on_all(ledger, tmp_path, much_later)
    assert (receipt.state, receipt.passes, receipt.counts["prompts"]) == ("running", 2, 5)
    [receipt] = erasure.work_on_all(ledger, tmp_path, much_later)
    assert (receipt.state, receipt.passes) == ("done", 3)
    assert receipt.finished_at is not None
    assert erasure.work_on_all(ledger, tmp_path, much_later) == []
    assert "ACME" not in dump(ledger)


def test_who_comes_back_is_a_customer_like_any_other(ledger: Ledger, tmp_path: Path, lives: tuple[Life, Life]) -> None:
    erasure.erase(ledger, tmp_path, "acme", "olga")
    back = make_interaction("I am back", customer="acme", created_at=utc_now() + timedelta(seconds=1))
    assert interactions.append(ledger, back)
    erasure.work_on_all(ledger, tmp_path, much_later)
    assert interactions.get(ledger, back.id) == back
    assert [each for _, each in interactions.read(ledger) if each.customer == "acme"] == [back]


def test_twice_is_two_receipts_and_the_second_finds_nothing(
    ledger: Ledger, tmp_path: Path, lives: tuple[Life, Life]
) -> None:
    first = erasure.erase(ledger, tmp_path, "acme", "olga")
    second = erasure.erase(ledger, tmp_path, "acme", "olga")
    assert first.id != second.id
    assert second.counts == {}
    assert erasure.get(ledger, first.id) == first


def test_a_pass_that_broke_off_is_made_again(
    ledger: Ledger, tmp_path: Path, lives: tuple[Life, Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = erasure.request(ledger, "acme", "olga")
    with monkeypatch.context() as broken:
        broken.setattr(archives, "rewrite", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            erasure.work(ledger, tmp_path, receipt)
    assert erasure.get(ledger, receipt.id).passes == 0
    assert erasure.work(ledger, tmp_path, receipt).passes == 1
    assert "ACME" not in dump(ledger) + archive_text(tmp_path)


def test_two_processes_do_not_count_the_same_thing_twice(ledger: Ledger, tmp_path: Path) -> None:
    receipt = erasure.request(ledger, "acme", "olga")
    ledger.redis.set(keys.ERASURE_LOCK, "somebody else", ex=60)
    assert erasure.work(ledger, tmp_path, receipt).passes == 0
    ledger.redis.delete(keys.ERASURE_LOCK)
    assert erasure.work(ledger, tmp_path, receipt).passes == 1


def test_the_audit_says_who_asked_and_when_it_was_done(ledger: Ledger, tmp_path: Path) -> None:
    receipt = erasure.erase(ledger, tmp_path, "acme", "olga")
    erasure.work_on_all(ledger, tmp_path, much_later)
    assert [(entry.actor, entry.action, entry.subject, entry.reason) for entry in promotion.audit(ledger)] == [
        ("olga", "erase requested", "acme", receipt.id),
        ("olga", "erased", "acme", receipt.id),
    ]


@pytest.mark.parametrize("customer", ["", "  "])
def test_nobody_cannot_be_erased(ledger: Ledger, customer: str) -> None:
    with pytest.raises(InvalidRecord, match="name the customer"):
        erasure.request(ledger, customer, "olga")
    assert tombstones.read(ledger).by_customer == {}


def test_an_unknown_receipt_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="era_none"):
        erasure.get(ledger, "era_none")


def test_a_name_with_quotes_is_found_as_it_is_written(ledger: Ledger, tmp_path: Path) -> None:
    name = 'a"c\\me 🦊'
    interactions.append(ledger, make_interaction("x", customer=name))
    interactions.append(ledger, make_interaction("y", customer='a"c', messages=make_messages(name)))
    receipt: Erasure = erasure.erase(ledger, tmp_path, name, "olga")
    assert receipt.counts == {"interactions": 1}
    assert len(list(interactions.read(ledger))) == 1


def test_under_load_nothing_of_before_the_request_stays_and_everything_of_after_does(
    ledger: Ledger, tmp_path: Path
) -> None:
    stop = threading.Event()

    def log(customer: str) -> None:
        while not stop.is_set():
            batch = [make_interaction("x", customer=customer, created_at=utc_now()) for _ in range(5)]
            time.sleep(0.002)  # on its way through a spool
            interactions.append_many(ledger, [(each, encode(each)) for each in batch], 3600)

    threads = [threading.Thread(target=log, args=(name,)) for name in ("acme", "acme", "other")]
    for thread in threads:
        thread.start()
    while interactions.count(ledger) < 300:
        time.sleep(0.01)
    receipt = erasure.erase(ledger, tmp_path, "acme", "olga")
    seen = interactions.count(ledger)
    while interactions.count(ledger) < seen + 300:
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert receipt.counts["interactions"] > 20
    left = [each for _, each in interactions.read(ledger)]
    assert min(each.created_at for each in left if each.customer == "acme") > receipt.created_at
    assert min(each.created_at for each in left if each.customer == "other") < receipt.created_at
    assert len(list(ledger.redis.scan_iter("ws:interaction:*", count=1000))) == len(left)
