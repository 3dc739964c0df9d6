"""A submission is one entry however often it is sent; corrections are further entries, for a while."""

import threading
import time

import pytest

from feedback import drafts, keys, labels, leases, submissions
from feedback.client import Ledger
from feedback.errors import Conflict, LeaseLost, NotFound
from feedback.records import Comparison, Label
from feedback.submissions import Answer
from tests.builders import lease_next, make_label, open_comparison


def submitted(ledger: Ledger, labeler: str = "lee", overlap: int = 1) -> tuple[Comparison, Label, Answer]:
    comparison = open_comparison(ledger, overlap=overlap)
    made = make_label(comparison, labeler=labeler)
    return comparison, made, labels.submit(ledger, made, comparison, lease_next(ledger, labeler).token)


def correction(comparison: Comparison, first: Label, revision: int = 1) -> Label:
    return make_label(
        comparison, labeler=first.labeler, note=f"no. {revision}", revision=revision, revision_of=first.id
    )


def test_sent_many_times_at_once_it_is_one_entry_and_one_answer(ledger: Ledger) -> None:
    comparison = open_comparison(ledger)
    token, made = lease_next(ledger).token, make_label(comparison)
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.append(labels.submit(ledger, made, comparison, token)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.entry_id for answer in answers}) == 1
    assert sorted(answer.repeated for answer in answers) == [False] + [True] * 7
    assert len(list(labels.read(ledger))) == 1


def test_an_answer_ends_the_lease_and_the_draft_and_is_found_again(ledger: Ledger) -> None:
    comparison = open_comparison(ledger)
    lease = lease_next(ledger)
    drafts.put(ledger, "lee", comparison.id, "{}")
    made = make_label(comparison)
    answer = labels.submit(ledger, made, comparison, lease.token)
    assert leases.held(ledger, comparison.id, "lee") is None
    assert drafts.get(ledger, "lee", comparison.id) is None
    found = submissions.find(ledger, made.id)
    assert found == (answer.entry_id, comparison.id, "lee", keys.LABELS, "training")
    assert submissions.recent(ledger, "lee", 10) == [made.id]
    assert submissions.of_item(ledger, keys.LABELS, comparison.id, Label) == [(answer.entry_id, made)]
    assert answer.at_s == pytest.approx(time.time(), abs=5)
    assert submissions.find(ledger, "nobody") is None


def test_a_lease_that_is_over_by_the_given_clock_takes_nothing(ledger: Ledger) -> None:
    comparison = open_comparison(ledger)
    lease = lease_next(ledger, lease_s=60)
    with pytest.raises(LeaseLost, match="expired"):
        labels.submit(ledger, make_label(comparison), comparison, lease.token, now=time.time() + 61)
    assert leases.held(ledger, comparison.id, "lee") is not None
    assert labels.count(ledger) == 0


def test_what_an_earlier_version_remembered_is_still_recognised(ledger: Ledger) -> None:
    comparison, made, answer = submitted(ledger)
    ledger.redis.set(keys.submission(made.id), f"{answer.entry_id} {comparison.id} lee")
    again = labels.submit(ledger, make_label(comparison, id=made.id, note="whatever"), comparison, token=1)
    assert (again.repeated, again.entry_id) == (True, answer.entry_id)
    found = submissions.find(ledger, made.id)
    assert found is not None
    assert (found.labeler, found.stream, found.queue) == ("lee", keys.LABELS, "")


def test_corrections_count_up_and_the_last_one_is_what_is_said(ledger: Ledger) -> None:
    comparison, first, _ = submitted(ledger)
    for revision in (1, 2):
        labels.revise(ledger, correction(comparison, first, revision), comparison)
    assert [label.revision for _, label in labels.read(ledger)] == [0, 1, 2]
    assert [label.revision for label in labels.of(ledger, comparison.id)] == [2]
    assert [label.revision for _, label in labels.current(ledger)] == [2]
    assert labels.count(ledger) == 1


def test_a_correction_of_what_was_corrected_meanwhile_is_stale(ledger: Ledger) -> None:
    comparison, first, _ = submitted(ledger)
    labels.revise(ledger, correction(comparison, first), comparison)
    with pytest.raises(Conflict, match="meanwhile"):
        labels.revise(ledger, correction(comparison, first), comparison)
    assert len(list(labels.read(ledger))) == 2


def test_a_correction_sent_again_is_one_even_after_the_time_is_over(ledger: Ledger) -> None:
    comparison, first, _ = submitted(ledger)
    made = correction(comparison, first)
    answers = [labels.revise(ledger, made, comparison, now=time.time() + wait_s) for wait_s in (0, 10_000)]
    assert [answer.repeated for answer in answers] == [False, True]
    assert answers[0].entry_id == answers[1].entry_id


def test_after_the_time_is_over_nothing_is_corrected(ledger: Ledger) -> None:
    comparison, first, answer = submitted(ledger)
    at = answer.at_s
    with pytest.raises(Conflict, match="15 minutes"):
        labels.revise(ledger, correction(comparison, first), comparison, now=at + submissions.REVISE_S + 0.01)
    assert not labels.revise(ledger, correction(comparison, first), comparison, now=at + submissions.REVISE_S).repeated


def test_nobody_corrects_what_is_not_theirs_or_not_there(ledger: Ledger) -> None:
    comparison, first, _ = submitted(ledger, overlap=2)
    theirs = make_label(comparison, labeler="bob", revision=1, revision_of=first.id)
    nothing = make_label(comparison, revision=1, revision_of="sub_none")
    for made in (theirs, nothing):
        with pytest.raises(NotFound):
            labels.revise(ledger, made, comparison)
    assert len(list(labels.read(ledger))) == 1


def test_corrections_of_one_answer_are_bounded(ledger: Ledger) -> None:
    comparison, first, _ = submitted(ledger)
    with pytest.raises(Conflict, match="50 times"):
        labels.revise(ledger, correction(comparison, first, submissions.MOST_REVISIONS + 1), comparison)


def test_a_labelers_list_is_bounded_to_the_last(ledger: Ledger) -> None:
    ledger.redis.zadd(keys.answered("lee"), {f"old-{number}": number for number in range(300)})
    _, made, _ = submitted(ledger)
    found = submissions.recent(ledger, "lee", 1000)
    assert len(found) == 200
    assert found[0] == made.id
