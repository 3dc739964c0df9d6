"""Bounds of leases: how many, for whom, for how long; what goes back, and what comes with a lease."""

import time

import pytest

from feedback import drafts, guidelines, labelers, leases, workdays
from feedback.client import Ledger, encode
from feedback.errors import DailyCapReached, LeaseLost, MustAcknowledge, MustPractise, Paused, TooManyLeases
from tests.builders import lease_next, open_comparison
from tests.feedback.test_leases import QUEUE, Clock, open_items, submit
from tests.feedback.test_leases_order import answer, given


def test_a_labeler_holds_only_so_many_at_a_time(ledger: Ledger) -> None:
    clock = Clock()
    open_items(ledger, 5)
    held = [lease_next(ledger, most=2, lease_s=60, now=clock) for _ in range(2)]
    with pytest.raises(TooManyLeases, match="2 items") as refused:
        leases.lease(ledger, QUEUE, "lee", most=2, now=clock)
    assert refused.value.retry_after_s == pytest.approx(60)
    submit(ledger, held[0].item_id, "lee", held[0].token, now=clock)
    third = lease_next(ledger, most=2, lease_s=60, now=clock)
    leases.release(ledger, third.item_id, "lee", third.token)
    lease_next(ledger, most=2, lease_s=60, now=clock)
    clock.at += 61
    assert lease_next(ledger, most=2, now=clock), "what ran out counts no more, swept or not"


def test_a_daily_cap_counts_what_was_given_and_not_given_back(ledger: Ledger) -> None:
    clock = Clock()
    open_items(ledger, 5)
    first = lease_next(ledger, daily_cap=2, now=clock)
    leases.release(ledger, first.item_id, "lee", first.token)
    answer(ledger, "lee", daily_cap=2, now=clock)
    lease_next(ledger, daily_cap=2, lease_s=10, now=clock)
    with pytest.raises(DailyCapReached, match="2 items"):
        leases.lease(ledger, QUEUE, "lee", daily_cap=2, now=clock)
    assert workdays.taken(ledger, "lee", now=clock) == {QUEUE: 2}
    clock.at += 11
    assert lease_next(ledger, daily_cap=2, now=clock), "one ran out"
    clock.at += leases.DAY_S
    assert lease_next(ledger, daily_cap=2, now=clock), "another day"


def test_of_several_queues_each_has_its_own_items_and_caps(ledger: Ledger) -> None:
    open_items(ledger, 1)
    leases.open_item(ledger, "cmp_medical", "medical", 1, 0)
    assert given(ledger, daily_cap=1)[0] == "cmp_000"
    assert given(ledger, queue="medical", daily_cap=1)[0] == "cmp_medical"
    assert workdays.taken(ledger, "lee") == {QUEUE: 1, "medical": 1}


def test_a_skip_is_kept_with_its_reason_and_different_labelers_are_counted(ledger: Ledger) -> None:
    (id,) = open_items(ledger, 1)
    for count, labeler in enumerate(["lee", "ann", "bob"], 1):
        lease = lease_next(ledger, labeler)
        assert leases.release(ledger, id, labeler, lease.token, "language", f"not mine, {count}") == count
    assert [(each.reason, each.note) for each in leases.skips(ledger, id)] == [
        ("language", "not mine, 1"), ("language", "not mine, 2"), ("language", "not mine, 3"),
    ]  # fmt: skip
    assert "lee" not in str(leases.skips(ledger, id))


def test_what_is_handed_back_may_be_had_again_and_counts_as_no_skip(ledger: Ledger) -> None:
    (id,) = open_items(ledger, 1)
    lease = lease_next(ledger)
    leases.hand_back(ledger, id, "lee", lease.token)
    assert leases.skips(ledger, id) == []
    assert workdays.taken(ledger, "lee") == {QUEUE: 0}
    with pytest.raises(LeaseLost):
        leases.hand_back(ledger, id, "lee", lease.token)
    assert given(ledger) == (id, "oldest")


def test_an_abandoned_item_is_there_for_the_next_who_asks_even_if_nobody_sweeps(ledger: Ledger) -> None:
    clock = Clock()
    (id,) = open_items(ledger, 1)
    lease_next(ledger, "gone", lease_s=10, now=clock)
    clock.at += 10.001
    assert given(ledger, now=clock) == (id, "oldest")


def test_a_sweep_ends_all_that_is_overdue_however_much_it_is(ledger: Ledger) -> None:
    clock = Clock()
    open_items(ledger, 25)
    for number in range(25):
        lease_next(ledger, f"labeler {number}", lease_s=10, now=clock)
    clock.at += 11
    assert leases.expire(ledger, now=clock, most=4) == 25
    assert leases.waiting(ledger, QUEUE) == 25


def test_the_lease_itself_looks_where_a_labeler_stands(ledger: Ledger) -> None:
    open_items(ledger, 3)
    labelers.pause(ledger, "lee", "olga", "checks failed")
    with pytest.raises(Paused, match="checks failed"):
        leases.lease(ledger, QUEUE, "lee")
    labelers.resume(ledger, "lee", "olga", lift=True)
    demand = leases.Demand(guidelines.publish(ledger, "# New", "all", "olga").version, practice=True)
    with pytest.raises(MustAcknowledge, match=demand.guideline):
        leases.hand(ledger, QUEUE, "lee", demand=demand)
    labelers.acknowledge(ledger, "lee", demand.guideline)
    with pytest.raises(MustPractise):
        leases.hand(ledger, QUEUE, "lee", demand=demand)
    assert leases.live(ledger) == 0
    labelers.passed_practice(ledger, "lee")
    assert leases.hand(ledger, QUEUE, "lee", demand=demand) is not None


def test_what_there_is_to_see_comes_with_the_lease(ledger: Ledger) -> None:
    comparison = open_comparison(ledger)
    drafts.put(ledger, "lee", comparison.id, '{"ranks":[1]}')
    found = leases.hand(ledger, QUEUE, "lee")
    assert found is not None
    assert found.record == encode(comparison)
    assert (found.lease.item_id, found.draft) == (comparison.id, '{"ranks":[1]}')
    assert leases.in_hand(ledger, comparison.id, "lee") == (found.record, found.lease, QUEUE)
    assert leases.in_hand(ledger, comparison.id, "ann") == (found.record, None, "")
    assert leases.in_hand(ledger, "cmp_none", "lee") == (None, None, "")


def test_an_item_without_its_record_is_handed_out_empty(ledger: Ledger) -> None:
    open_items(ledger, 1)
    found = leases.hand(ledger, QUEUE, "lee")
    assert found is not None
    assert (found.record, found.draft) == (None, None)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_a_clock_that_jumps_in_one_process_ends_no_lease_and_makes_none_longer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    ids = open_items(ledger, 2)
    first = lease_next(ledger, lease_s=60)
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + jump_s)
    assert leases.expire(ledger) == 0
    second = lease_next(ledger, "ann", lease_s=60)
    assert second.item_id == ids[1]
    assert second.deadline_s - first.deadline_s < 30
    assert leases.renew(ledger, ids[0], "lee", first.token) - first.deadline_s < 30
    assert submit(ledger, ids[0], "lee", first.token) is False
