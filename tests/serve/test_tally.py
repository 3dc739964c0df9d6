"""Each labeler's count of work, kept up by reading only what is new."""

from datetime import UTC, datetime

from feedback import demonstrations, keys, labels, votes
from feedback.client import Ledger
from feedback.records import utc_now
from serve.tally import Tally
from tests.builders import lease_next, make_demonstration, make_interaction, make_label, make_prompt, open_comparison


def give_label(ledger: Ledger, labeler: str, at: datetime) -> None:
    comparison = open_comparison(ledger)
    token = lease_next(ledger, labeler).token
    labels.submit(ledger, make_label(comparison, labeler=labeler, created_at=at), comparison, token)


def give_demonstration(ledger: Ledger, labeler: str) -> None:
    prompt = make_prompt()
    demonstrations.request(ledger, prompt)
    token = lease_next(ledger, labeler, queue=demonstrations.QUEUE).token
    demonstrations.submit(ledger, make_demonstration(prompt, labeler=labeler, created_at=utc_now()), token)


def test_somebody_who_did_nothing_has_zeros(ledger: Ledger) -> None:
    assert set(Tally(ledger).of("lee").values()) == {0}


def test_work_is_counted_by_labeler_and_kind(ledger: Ledger) -> None:
    for _ in range(3):
        give_label(ledger, "lee", utc_now())
    give_label(ledger, "ann", utc_now())
    give_demonstration(ledger, "lee")
    found = Tally(ledger).of("lee")
    assert found == {"labels": 3, "labels_today": 3, "demonstrations": 1, "demonstrations_today": 1}


def test_work_of_another_day_counts_in_all_and_not_today(ledger: Ledger) -> None:
    give_label(ledger, "lee", datetime(2026, 1, 2, tzinfo=UTC))
    found = Tally(ledger).of("lee")
    assert (found["labels"], found["labels_today"]) == (1, 0)


def test_asking_again_counts_nothing_twice_and_adds_what_is_new(ledger: Ledger) -> None:
    tally = Tally(ledger)
    give_label(ledger, "lee", utc_now())
    assert tally.of("lee") == tally.of("lee")
    give_label(ledger, "lee", utc_now())
    assert tally.of("lee")["labels"] == 2


def test_a_customer_s_vote_is_no_work_of_a_labeler_of_that_name(ledger: Ledger) -> None:
    answers = [make_interaction(customer="lee"), make_interaction(customer="lee", completion="A stone.")]
    pair = votes.to_comparison("cmp_vote", "pro_1", "train", *answers)
    votes.take(ledger, pair, votes.to_label("vot_1", pair, "a", blind=True), keys.battle_vote("b1"))
    give_label(ledger, "lee", utc_now())
    assert Tally(ledger).of("lee")["labels"] == 1


def test_a_correction_is_no_further_work(ledger: Ledger) -> None:
    comparison = open_comparison(ledger)
    first = make_label(comparison)
    labels.submit(ledger, first, comparison, lease_next(ledger).token)
    labels.revise(ledger, make_label(comparison, note="hm", revision=1, revision_of=first.id), comparison)
    assert Tally(ledger).of("lee")["labels"] == 1
