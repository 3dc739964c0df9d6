"""Workdays: what each labeler did today, and that tomorrow begins anew."""

from feedback import leases, workdays
from feedback.client import Ledger
from tests.builders import lease_next
from tests.feedback.test_leases import QUEUE, Clock, open_items, submit


def test_what_was_answered_today_is_what_was_given_and_is_not_held(ledger: Ledger) -> None:
    clock = Clock()
    open_items(ledger, 4)
    assert workdays.answered(ledger, "lee", clock) == {}
    for _ in range(2):
        lease = lease_next(ledger, now=clock)
        submit(ledger, lease.item_id, "lee", lease.token, now=clock)
    lease_next(ledger, now=clock)
    assert workdays.answered(ledger, "lee", clock) == {QUEUE: 2}
    assert workdays.taken(ledger, "lee", clock) == {QUEUE: 3}
    assert workdays.answered(ledger, "ann", clock) == {}


def test_an_item_that_goes_back_the_next_day_is_taken_off_the_day_on_which_it_was_given(ledger: Ledger) -> None:
    clock = Clock()
    open_items(ledger, 1)
    lease_next(ledger, lease_s=60, now=clock)
    today = clock.at
    clock.at += workdays.DAY_S
    assert leases.expire(ledger, now=clock) == 1
    assert workdays.taken(ledger, "lee", lambda: today) == {QUEUE: 0}
    assert workdays.taken(ledger, "lee", clock) == {}


def test_skips_are_counted_by_labeler_and_day(ledger: Ledger) -> None:
    clock = Clock()
    assert [workdays.note_skip(ledger, "lee", clock) for _ in range(3)] == [1, 2, 3]
    workdays.note_skip(ledger, "ann", clock)
    assert workdays.skipped(ledger, clock) == {"lee": 3, "ann": 1}
    clock.at += workdays.DAY_S
    assert workdays.skipped(ledger, clock) == {}
    assert workdays.note_skip(ledger, "lee", clock) == 1
