"""Leases: one labeler a slot, fenced by a token, never handed out twice, whoever races."""

import random
import threading
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from feedback import keys, leases, submissions
from feedback.client import Ledger
from feedback.errors import Conflict, LeaseLost, NotFound
from feedback.records import Label
from tests.builders import lease_next, make_comparison, make_label

QUEUE = "training"
LABEL = make_label(make_comparison())


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


def open_items(ledger: Ledger, count: int, slots: int = 1) -> list[str]:
    ids = [f"cmp_{number:03d}" for number in range(count)]
    for score, id in enumerate(ids):
        leases.open_item(ledger, id, QUEUE, slots, score)
    return ids


def submit(
    ledger: Ledger, item: str, labeler: str, token: int, id: str = "", now: Callable[[], float] | None = None
) -> bool:
    label = msgspec.structs.replace(LABEL, id=id or f"sub_{item}_{labeler}", labeler=labeler)
    at = now() if now is not None else None
    return submissions.take(ledger, keys.LABELS, label, item, token, "the same", now=at).repeated


def in_threads(work: Callable[[int], None], count: int = 20) -> None:
    """Run ``work(number)`` in this many threads at once; raise what the first faulty one raised."""
    start = threading.Barrier(count)
    faults: list[BaseException] = []

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def test_items_are_served_by_score_and_each_labeler_gets_one_once(ledger: Ledger) -> None:
    ids = open_items(ledger, 3, slots=2)
    assert [lease_next(ledger, "lee").item_id for _ in range(3)] == ids
    assert leases.lease(ledger, QUEUE, "lee") is None
    assert [lease_next(ledger, "ann").item_id for _ in range(3)] == ids
    assert leases.waiting(ledger, QUEUE) == 0


def test_an_empty_queue_has_nothing_for_anybody(ledger: Ledger) -> None:
    assert leases.lease(ledger, QUEUE, "lee") is None


def test_opening_an_item_again_changes_nothing(ledger: Ledger) -> None:
    open_items(ledger, 1)
    lease_next(ledger)
    open_items(ledger, 1)
    assert leases.waiting(ledger, QUEUE) == 0


def test_a_submission_closes_the_lease_and_is_counted(ledger: Ledger) -> None:
    (id,) = open_items(ledger, 1)
    lease = lease_next(ledger)
    assert submit(ledger, id, "lee", lease.token) is False
    assert leases.answers(ledger, id) == 1
    assert ledger.redis.zcard(keys.LEASES) == 0
    with pytest.raises(LeaseLost):
        leases.renew(ledger, id, "lee", lease.token)


def test_a_repeated_submission_gets_its_first_answer_and_writes_nothing(ledger: Ledger) -> None:
    (id,) = open_items(ledger, 1)
    lease = lease_next(ledger)
    assert [submit(ledger, id, "lee", lease.token) for _ in range(3)] == [False, True, True]
    assert ledger.redis.xlen(keys.LABELS) == 1


def test_of_twenty_copies_of_one_submission_one_is_stored(ledger: Ledger) -> None:
    (id,) = open_items(ledger, 1)
    token = lease_next(ledger).token
    repeated: list[bool] = []
    in_threads(lambda _: repeated.append(submit(ledger, id, "lee", token)))
    assert sorted(repeated) == [False] + [True] * 19
    assert ledger.redis.xlen(keys.LABELS) == 1


def test_a_submission_id_cannot_swallow_the_answer_of_somebody_else(ledger: Ledger) -> None:
    first, second = open_items(ledger, 2)
    submit(ledger, first, "lee", lease_next(ledger).token, id="sub_1")
    token = lease_next(ledger, "ann").token
    with pytest.raises(Conflict, match="sub_1"):
        submit(ledger, second, "ann", token, id="sub_1")
    assert submit(ledger, second, "ann", token, id="sub_2") is False


def test_without_a_lease_nothing_is_stored(ledger: Ledger) -> None:
    (id,) = open_items(ledger, 1)
    with pytest.raises(LeaseLost, match="no lease"):
        submit(ledger, id, "lee", 1)
    assert ledger.redis.xlen(keys.LABELS) == 0


def test_a_lease_of_somebody_else_is_no_lease(ledger: Ledger) -> None:
    (id,) = open_items(ledger, 1)
    lease = lease_next(ledger, "lee")
    with pytest.raises(LeaseLost):
        submit(ledger, id, "ann", lease.token)


def test_an_expired_lease_takes_no_answer_even_before_it_is_swept(ledger: Ledger) -> None:
    clock = Clock()
    (id,) = open_items(ledger, 1)
    lease = lease_next(ledger, lease_s=10, now=clock)
    clock.at += 10.5
    with pytest.raises(LeaseLost, match="expired"):
        submit(ledger, id, "lee", lease.token, now=clock)
    with pytest.raises(LeaseLost):
        leases.renew(ledger, id, "lee", lease.token, now=clock)
    assert ledger.redis.xlen(keys.LABELS) == 0


def test_an_expired_lease_returns_to_the_queue_and_may_go_to_the_same_labeler(ledger: Ledger) -> None:
    clock = Clock()
    (id,) = open_items(ledger, 1)
    old = lease_next(ledger, lease_s=10, now=clock)
    assert leases.expire(ledger, now=clock) == 0
    clock.at += 11
    assert leases.expire(ledger, now=clock) == 1
    assert leases.expire(ledger, now=clock) == 0
    new = lease_next(ledger, lease_s=10, now=clock)
    assert new.item_id == id
    assert new.token > old.token


def test_the_token_of_an_old_lease_is_fenced_off_by_a_newer_one(ledger: Ledger) -> None:
    clock = Clock()
    (id,) = open_items(ledger, 1)
    old = lease_next(ledger, lease_s=10, now=clock)
    clock.at += 11
    leases.expire(ledger, now=clock)
    new = lease_next(ledger, lease_s=10, now=clock)
    for attempt in (
        lambda: submit(ledger, id, "lee", old.token, now=clock),
        lambda: leases.renew(ledger, id, "lee", old.token, now=clock),
        lambda: leases.release(ledger, id, "lee", old.token),
    ):
        with pytest.raises(LeaseLost):
            attempt()
    assert submit(ledger, id, "lee", new.token, now=clock) is False


def test_after_expiry_the_item_goes_to_another_and_the_first_can_no_longer_answer(ledger: Ledger) -> None:
    clock = Clock()
    (id,) = open_items(ledger, 1)
    first = lease_next(ledger, "lee", lease_s=10, now=clock)
    clock.at += 11
    leases.expire(ledger, now=clock)
    second = lease_next(ledger, "ann", lease_s=10, now=clock)
    with pytest.raises(LeaseLost):
        submit(ledger, id, "lee", first.token, now=clock)
    assert submit(ledger, id, "ann", second.token, now=clock) is False
    assert leases.answers(ledger, id) == 1


def test_a_heartbeat_moves_the_deadline(ledger: Ledger) -> None:
    clock = Clock()
    (id,) = open_items(ledger, 1)
    lease = lease_next(ledger, lease_s=10, now=clock)
    clock.at += 9
    assert leases.renew(ledger, id, "lee", lease.token, lease_s=10, now=clock) == clock.at + 10
    clock.at += 9
    assert leases.expire(ledger, now=clock) == 0
    assert submit(ledger, id, "lee", lease.token, now=clock) is False


def test_a_skipped_item_goes_to_others_and_not_to_who_skipped_it(ledger: Ledger) -> None:
    (id,) = open_items(ledger, 1)
    lease = lease_next(ledger, "lee")
    leases.release(ledger, id, "lee", lease.token)
    assert leases.lease(ledger, QUEUE, "lee") is None
    assert lease_next(ledger, "ann").item_id == id


def test_skipping_twice_gives_one_slot_back(ledger: Ledger) -> None:
    (id,) = open_items(ledger, 1)
    lease = lease_next(ledger, "lee")
    leases.release(ledger, id, "lee", lease.token)
    with pytest.raises(LeaseLost):
        leases.release(ledger, id, "lee", lease.token)
    lease_next(ledger, "ann")
    assert leases.lease(ledger, QUEUE, "bob") is None


def test_a_labeler_whose_name_holds_spaces_expires_like_any_other(ledger: Ledger) -> None:
    clock = Clock()
    open_items(ledger, 1)
    lease_next(ledger, "Lee van der Berg", lease_s=10, now=clock)
    clock.at += 11
    assert leases.expire(ledger, now=clock) == 1
    assert leases.waiting(ledger, QUEUE) == 1


def test_an_item_far_behind_those_that_a_labeler_has_seen_is_found(ledger: Ledger) -> None:
    ids = open_items(ledger, 130, slots=2)
    for _ in range(120):
        lease_next(ledger, "lee")
    assert lease_next(ledger, "lee").item_id == ids[120]


def test_a_sweeper_that_saw_an_old_deadline_does_not_end_a_lease_that_was_renewed_since(ledger: Ledger) -> None:
    clock = Clock()
    (id,) = open_items(ledger, 1)
    lease = lease_next(ledger, lease_s=10, now=clock)
    leases.renew(ledger, id, "lee", lease.token, lease_s=60, now=clock)
    ledger.redis.zadd(keys.LEASES, {f"{id} lee": clock.at})  # what the sweeper read before the heartbeat
    assert leases.expire(ledger, now=clock) == 0
    assert submit(ledger, id, "lee", lease.token, now=clock) is False


def test_answers_of_an_unknown_item_are_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="cmp_none"):
        leases.answers(ledger, "cmp_none")


@pytest.mark.parametrize("overlap", [1, 3])
def test_twenty_labelers_at_once_give_each_item_exactly_its_overlap(ledger: Ledger, overlap: int) -> None:
    ids = open_items(ledger, 25, slots=overlap)
    answered: list[tuple[str, str]] = []

    def work(number: int) -> None:
        labeler = f"labeler-{number}"
        while (lease := leases.lease(ledger, QUEUE, labeler)) is not None:
            submit(ledger, lease.item_id, labeler, lease.token)
            answered.append((lease.item_id, labeler))

    in_threads(work)
    assert len(answered) == len(set(answered)), "nobody was given an item twice"
    assert Counter(item for item, _ in answered) == dict.fromkeys(ids, overlap)
    assert [leases.answers(ledger, id) for id in ids] == [overlap] * len(ids)
    assert ledger.redis.xlen(keys.LABELS) == overlap * len(ids)
    assert leases.live(ledger) == 0


def test_with_skips_expiries_and_late_answers_the_overlap_is_never_exceeded_and_nothing_is_stuck(
    ledger: Ledger,
) -> None:
    overlap = 2
    ids = open_items(ledger, 12, slots=overlap)
    clock = Clock()
    turn = threading.Lock()
    taken: Counter[str] = Counter()

    def work(number: int) -> None:
        chance = random.Random(number)
        labeler = f"labeler-{number}"
        for _ in range(20):
            lease = leases.lease(ledger, QUEUE, labeler, lease_s=10, now=clock)
            if lease is None:
                leases.expire(ledger, now=clock)
                continue
            fate = chance.random()
            if 0.2 < fate < 0.5:
                with turn:
                    clock.at += 6
            try:
                if fate < 0.2:
                    leases.release(ledger, lease.item_id, labeler, lease.token)
                    continue
                id = f"{lease.item_id} {labeler} {lease.token}"
                submit(ledger, lease.item_id, labeler, lease.token, id=id, now=clock)
            except LeaseLost:
                continue
            with turn:
                taken[lease.item_id] += 1

    in_threads(work)
    assert max(taken.values()) <= overlap
    clock.at += 1000
    leases.expire(ledger, now=clock)
    for number in range(overlap):
        while (lease := leases.lease(ledger, QUEUE, f"late-{number}", now=clock)) is not None:
            submit(ledger, lease.item_id, lease.labeler, lease.token, now=clock)
            taken[lease.item_id] += 1
    assert taken == dict.fromkeys(ids, overlap)
    assert len([record for _, record in ledger.stream(keys.LABELS, Label)]) == overlap * len(ids)
