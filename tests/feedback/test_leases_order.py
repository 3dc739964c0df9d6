"""What a labeler is given next, and why: returned, checks, priority, drawn, begun by others, oldest, all the rest."""

import time
from typing import Any

import pytest

from feedback import drafts, keys, leases
from feedback.client import Ledger
from tests.builders import lease_next
from tests.feedback.test_leases import QUEUE, Clock, open_items, submit

URGENT = -1e10


def given(ledger: Ledger, labeler: str = "lee", **options: Any) -> tuple[str, str]:
    """Lease the next item and return which it was, and why."""
    found = lease_next(ledger, labeler, **options)
    return found.item_id, found.picked


def prepare_check(ledger: Ledger, id: str, labeler: str = "lee") -> None:
    leases.open_item(ledger, id, "checks", 1, 0)
    ledger.redis.rpush(keys.checks(labeler), id)


def answer(ledger: Ledger, labeler: str, now: Clock | None = None, **options: Any) -> str:
    lease = lease_next(ledger, labeler, now=now, **options)
    submit(ledger, lease.item_id, labeler, lease.token, now=now)
    return lease.item_id


def test_a_lease_tells_when_it_began_and_why_and_can_be_looked_up(ledger: Ledger) -> None:
    clock = Clock()
    (id,) = open_items(ledger, 1)
    assert leases.held(ledger, id, "lee") is None
    lease = lease_next(ledger, lease_s=60, now=clock)
    assert (lease.leased_at_s, lease.deadline_s, lease.picked) == (clock.at, clock.at + 60, "oldest")
    assert leases.held(ledger, id, "lee") == lease
    assert leases.held(ledger, id, "ann") is None
    submit(ledger, id, "lee", lease.token, now=clock)
    assert leases.held(ledger, id, "lee") is None


def test_a_lease_of_an_earlier_release_still_counts(ledger: Ledger) -> None:
    (id,) = open_items(ledger, 1)
    lease = lease_next(ledger)
    ledger.redis.hset(keys.lease(id), "lee", f"{lease.token} {lease.deadline_s:.3f}")
    old = leases.held(ledger, id, "lee")
    assert old is not None
    assert (old.token, old.leased_at_s, old.picked) == (lease.token, 0.0, "")
    assert leases.renew(ledger, id, "lee", lease.token) > time.time()
    leases.hand_back(ledger, id, "lee", lease.token)
    assert leases.waiting(ledger, QUEUE) == 1


def test_the_clock_is_the_ledgers_unless_another_is_given(ledger: Ledger) -> None:
    open_items(ledger, 1)
    lease = lease_next(ledger, lease_s=60)
    seconds, micros = ledger.redis.time()
    assert -0.001 <= seconds + micros / 1e6 - lease.leased_at_s < 5, "kept to the nearest millisecond"
    assert lease.deadline_s == pytest.approx(lease.leased_at_s + 60, abs=0.002)


def test_what_has_priority_goes_first_whoever_began_it(ledger: Ledger) -> None:
    open_items(ledger, 2, slots=2)
    leases.open_item(ledger, "cmp_urgent", QUEUE, 2, URGENT + 5)
    assert given(ledger, "lee") == ("cmp_urgent", "priority")
    assert given(ledger, "ann", draw="random") == ("cmp_urgent", "priority")
    assert given(ledger, "ann") == ("cmp_000", "oldest")


def test_what_others_have_begun_goes_before_what_is_fresh_those_nearest_to_their_quota_first(ledger: Ledger) -> None:
    leases.open_item(ledger, "cmp_three", QUEUE, 3, 1)
    leases.open_item(ledger, "cmp_two", QUEUE, 2, 2)
    leases.open_item(ledger, "cmp_one", QUEUE, 1, 3)
    assert [given(ledger, "lee") for _ in range(2)] == [("cmp_three", "oldest"), ("cmp_two", "oldest")]
    assert given(ledger, "ann") == ("cmp_two", "short")
    assert given(ledger, "ann") == ("cmp_three", "oldest")
    assert given(ledger, "ann") == ("cmp_one", "oldest")
    assert given(ledger, "bob") == ("cmp_three", "short")


def test_a_random_item_is_drawn_where_the_draw_says_among_fresh_ones(ledger: Ledger) -> None:
    ids = open_items(ledger, 10)
    assert given(ledger, draw="random", at=0.95) == (ids[9], "random")
    assert given(ledger, draw="random", at=0.0) == (ids[0], "random")
    assert given(ledger, draw="random", at=0.5) == (ids[5], "random")  # the fifth of the eight that are left


def test_the_item_on_which_models_disagree_most_goes_first_if_drawn_so(ledger: Ledger) -> None:
    ids = open_items(ledger, 4)
    assert leases.set_disagreement(ledger, {ids[1]: 0.2, ids[3]: 0.9, "cmp_unknown": 1.0}) == 2
    assert given(ledger, draw="disagreement") == (ids[3], "disagreement")
    assert given(ledger, draw="disagreement") == (ids[1], "disagreement")
    assert given(ledger, draw="disagreement") == (ids[0], "oldest"), "nothing else is known to be in doubt"


def test_an_item_that_comes_back_is_in_doubt_again(ledger: Ledger) -> None:
    clock = Clock()
    ids = open_items(ledger, 2)
    leases.set_disagreement(ledger, {ids[1]: 0.5})
    given(ledger, draw="disagreement", lease_s=10, now=clock)
    clock.at += 11
    assert given(ledger, "ann", draw="disagreement", now=clock) == (ids[1], "disagreement")


def test_a_check_is_given_only_when_drawn_and_looks_like_any_lease_of_the_queue(ledger: Ledger) -> None:
    ids = open_items(ledger, 2)
    prepare_check(ledger, "cmp_check")
    assert given(ledger) == (ids[0], "oldest")
    lease = lease_next(ledger, check=True)
    assert (lease.item_id, lease.picked) == ("cmp_check", "check")
    assert ledger.redis.hget(keys.holding("lee"), "cmp_check").split()[1] == QUEUE
    assert given(ledger, check=True) == (ids[1], "oldest"), "no other check is prepared"
    assert submit(ledger, "cmp_check", "lee", lease.token) is False


def test_a_check_that_ran_out_goes_back_to_its_labeler_and_one_that_was_skipped_does_not(ledger: Ledger) -> None:
    clock = Clock()
    (other,) = open_items(ledger, 1)
    prepare_check(ledger, "cmp_check")
    first = lease_next(ledger, check=True, lease_s=10, now=clock)
    clock.at += 11
    assert leases.expire(ledger, now=clock) == 1
    assert given(ledger, "ann", check=True, lease_s=1, now=clock) == (other, "oldest")
    clock.at += 2
    again = lease_next(ledger, check=True, now=clock)
    assert (again.item_id, again.picked) == ("cmp_check", "check")
    assert again.token > first.token
    leases.release(ledger, "cmp_check", "lee", again.token, "other")
    assert given(ledger, check=True, now=clock) == (other, "oldest")


def test_an_empty_queue_gives_no_checks_however_often_it_is_asked(ledger: Ledger) -> None:
    prepare_check(ledger, "cmp_check")
    assert leases.lease(ledger, QUEUE, "lee", check=True) is None
    (only,) = open_items(ledger, 1)
    assert given(ledger, check=True) == ("cmp_check", "check"), "in the place of the ordinary item"
    assert given(ledger, check=True) == (only, "oldest"), "which waits"


def test_an_item_that_ran_out_with_a_draft_is_offered_to_its_author_first(ledger: Ledger) -> None:
    clock = Clock()
    ids = open_items(ledger, 3)
    lease = lease_next(ledger, draw="random", at=0.9, lease_s=10, now=clock)
    assert lease.item_id == ids[2]
    drafts.put(ledger, "lee", ids[2], '{"ranks": [1, 2]}')
    clock.at += 11
    assert given(ledger, "ann", now=clock) == (ids[0], "oldest")
    assert given(ledger, now=clock) == (ids[2], "returned")
    assert given(ledger, now=clock) == (ids[1], "oldest")


def test_a_draft_gives_no_right_to_an_item_that_somebody_else_has_by_now(ledger: Ledger) -> None:
    clock = Clock()
    ids = open_items(ledger, 2)
    lease_next(ledger, lease_s=10, now=clock)
    drafts.put(ledger, "lee", ids[0], "{}")
    clock.at += 11
    assert given(ledger, "ann", now=clock) == (ids[0], "oldest")
    assert given(ledger, now=clock) == (ids[1], "oldest")


def test_authors_are_never_given_what_they_wrote(ledger: Ledger) -> None:
    leases.open_item(ledger, "cmp_own", QUEUE, 2, 1, authors=["lee", "ann lee"])
    (other,) = open_items(ledger, 1)
    for options in ({}, {"draw": "random", "at": 0.99}, {"check": True}):
        lease = leases.lease(ledger, QUEUE, "lee", **options)
        assert lease is None or lease.item_id == other
    assert leases.lease(ledger, QUEUE, "ann lee") is None
    assert given(ledger, "ann") == ("cmp_own", "oldest")
    assert leases.lease(ledger, QUEUE, "lee") is None, "nor once others have begun it"


def test_what_is_held_for_review_is_given_to_nobody(ledger: Ledger) -> None:
    ids = open_items(ledger, 2)
    lease = lease_next(ledger, "ann")
    ledger.redis.hset(keys.item(ids[0]), "held", "report")
    leases.hand_back(ledger, ids[0], "ann", lease.token)
    assert given(ledger) == (ids[1], "oldest")
    assert leases.lease(ledger, QUEUE, "lee") is None
    assert leases.waiting(ledger, QUEUE) == 0


def test_nothing_is_overlooked_behind_thousands_that_a_labeler_has_seen(ledger: Ledger) -> None:
    """A labeler who has answered 6,000 items of overlap 2 still finds the one that somebody else began behind them."""
    count = 6000
    names = [f"cmp_{number:05d}" for number in range(count)]
    with ledger.redis.pipeline(transaction=False) as line:
        for number, name in enumerate(names):
            state = {"queue": QUEUE, "slots": 1, "token": 1, "score": number, "labels": 1}
            line.hset(keys.item(name), mapping=state)
            line.zadd(keys.queue_partial(QUEUE), {name: 1e11 + number})
            line.sadd(keys.seen("lee"), name)
        line.execute()
    assert leases.lease(ledger, QUEUE, "lee") is None
    ledger.redis.srem(keys.seen("lee"), names[-1])
    assert given(ledger) == (names[-1], "oldest")
    assert leases.lease(ledger, QUEUE, "lee") is None


def test_one_labeler_and_then_another_work_through_a_queue_of_overlap_two(ledger: Ledger) -> None:
    ids = open_items(ledger, 300, slots=2)
    first = [answer(ledger, "lee") for _ in ids]
    assert sorted(first) == ids
    assert leases.lease(ledger, QUEUE, "lee") is None
    assert leases.waiting(ledger, QUEUE) == 300
    assert sorted(answer(ledger, "ann") for _ in ids) == ids
    assert leases.waiting(ledger, QUEUE) == 0
    assert leases.lease(ledger, QUEUE, "bob") is None
