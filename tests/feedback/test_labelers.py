"""Labelers' standing: paused once, resumed by somebody, quarantined exactly as long as said."""

import threading
from datetime import datetime, timedelta

import pytest

from feedback import labelers, promotion
from feedback.client import Ledger
from feedback.errors import Conflict, MustAcknowledge, MustPractise, Paused
from feedback.labelers import Standing
from feedback.records import utc_now
from tests.builders import NOON


def test_who_was_never_heard_of_is_at_work(ledger: Ledger) -> None:
    assert labelers.standing(ledger, "lee") == Standing()
    assert labelers.quarantined(ledger) == {}


def test_a_pause_says_why_and_quarantines(ledger: Ledger) -> None:
    assert labelers.pause(ledger, "lee", "audit", "gold checks below the bar", NOON)
    found = labelers.standing(ledger, "lee")
    assert (found.state, found.reason, found.quarantined_from) == ("paused", "gold checks below the bar", NOON)
    assert found.since is not None
    assert abs(found.since - utc_now()) < timedelta(minutes=1)
    assert labelers.quarantined(ledger) == {"lee": [(NOON, None)]}


def test_a_pause_without_quarantine_keeps_the_labels(ledger: Ledger) -> None:
    labelers.pause(ledger, "lee", "olga", "on leave")
    assert labelers.quarantined(ledger) == {}


def test_the_second_pause_changes_nothing_and_is_not_in_the_audit(ledger: Ledger) -> None:
    assert labelers.pause(ledger, "lee", "audit", "first", NOON)
    assert not labelers.pause(ledger, "lee", "audit", "second", NOON - timedelta(days=1))
    assert labelers.standing(ledger, "lee").reason == "first"
    assert [entry.action for entry in promotion.audit(ledger)] == ["pause labeler"]


def test_of_many_pauses_at_once_one_counts(ledger: Ledger) -> None:
    won: list[bool] = []
    threads = [
        threading.Thread(target=lambda number=number: won.append(labelers.pause(ledger, "lee", "a", str(number), NOON)))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won.count(True) == 1
    assert len(labelers.quarantined(ledger)["lee"]) == 1


def test_lifting_lets_the_labels_count_again(ledger: Ledger) -> None:
    labelers.pause(ledger, "lee", "audit", "why", NOON)
    labelers.resume(ledger, "lee", "olga", "the checks were wrong", lift=True)
    assert labelers.standing(ledger, "lee").state == "active"
    assert labelers.quarantined(ledger) == {}
    last = list(promotion.audit(ledger))[-1]
    assert (last.actor, last.action, last.subject, last.after) == ("olga", "resume labeler", "lee", "quarantine lifted")


def test_a_final_quarantine_ends_with_the_pause_and_can_be_lifted_later(ledger: Ledger) -> None:
    labelers.pause(ledger, "lee", "audit", "why", NOON)
    labelers.resume(ledger, "lee", "olga", lift=False)
    periods = labelers.quarantined(ledger)["lee"]
    assert labelers.in_quarantine(periods, NOON)
    assert labelers.in_quarantine(periods, NOON + timedelta(hours=1))
    assert not labelers.in_quarantine(periods, NOON - timedelta(seconds=1))
    assert not labelers.in_quarantine(periods, utc_now() + timedelta(minutes=1))
    assert labelers.lift(ledger, "lee", "olga", "looked again") == 1
    assert labelers.lift(ledger, "lee", "olga") == 0
    assert labelers.quarantined(ledger) == {}


def test_a_second_pause_adds_a_second_quarantine(ledger: Ledger) -> None:
    later = datetime.fromisoformat("2026-05-01T00:00:00Z")
    labelers.pause(ledger, "lee", "audit", "why", NOON)
    labelers.resume(ledger, "lee", "olga", lift=False)
    labelers.pause(ledger, "lee", "audit", "again", later)
    assert [begin for begin, _ in labelers.quarantined(ledger)["lee"]] == [NOON, later]
    labelers.resume(ledger, "lee", "olga", lift=True)
    assert [begin for begin, _ in labelers.quarantined(ledger)["lee"]] == [NOON]


def test_nobody_resumes_who_is_at_work(ledger: Ledger) -> None:
    with pytest.raises(Conflict, match="not paused"):
        labelers.resume(ledger, "lee", "olga", lift=True)


def test_what_labelers_agreed_to_outlives_a_pause(ledger: Ledger) -> None:
    labelers.acknowledge(ledger, "lee", "3")
    labelers.passed_practice(ledger, "lee")
    labelers.pause(ledger, "lee", "audit", "why", NOON)
    labelers.resume(ledger, "lee", "olga", lift=True)
    found = labelers.standing(ledger, "lee")
    assert (found.acknowledged, found.practice_passed) == ("3", True)
    assert set(labelers.standings(ledger)) == {"lee"}


def test_who_may_work() -> None:
    ready = Standing(acknowledged="2", practice_passed=True)
    labelers.admit(ready, "2", practice=True)
    labelers.admit(Standing())
    with pytest.raises(Paused, match="too fast"):
        labelers.admit(Standing(state="paused", reason="too fast"), "2")
    with pytest.raises(MustAcknowledge, match="version 3"):
        labelers.admit(ready, "3")
    with pytest.raises(MustPractise):
        labelers.admit(Standing(acknowledged="2"), "2", practice=True)
