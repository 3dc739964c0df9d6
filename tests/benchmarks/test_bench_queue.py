"""The benchmark of the queue: its judgement of what labelers wrote down, on records made by hand."""

import math

import pytest

from benchmarks.bench_queue import bars, doubles, judged, returns, spread, timed
from benchmarks.callers import Given, Record


def given(
    item: str = "a", labeler: str = "lee", at: float = 0.0, fate: str = "answered", deadline: float = 10.0
) -> Given:
    return Given(
        site=0,
        item=item,
        labeler=labeler,
        token=1,
        asked_s=at - 0.01,
        given_s=at,
        deadline_s=deadline,
        sent_s=at + 0.01,
        answered_s=at + 0.04,
        fate=fate,
    )


def test_two_labelers_at_once_on_one_slot_are_a_double() -> None:
    assert doubles([given(), given(labeler="ann", at=1)], overlap=1) == 1
    assert doubles([given(), given(labeler="ann", at=1)], overlap=2) == 0
    three = [given(), given(labeler="ann", at=1), given(labeler="bob", at=2)]
    assert doubles(three, overlap=2) == 1


def test_an_item_that_was_left_lying_is_free_after_its_deadline_and_not_before() -> None:
    left = given(fate="vanished", deadline=10)
    assert doubles([left, given(labeler="ann", at=9.9)], overlap=1) == 1
    assert doubles([left, given(labeler="ann", at=10.1)], overlap=1) == 0


def test_the_same_labeler_twice_is_a_double_unless_they_had_let_it_lie() -> None:
    assert doubles([given(), given(at=1)], overlap=2) == 1
    assert doubles([given(fate="vanished", deadline=5), given(at=6, deadline=16)], overlap=1) == 0


def test_each_abandoned_hand_out_is_paired_with_one_that_came_after_its_deadline() -> None:
    record = [
        given(fate="vanished", deadline=10),
        given(labeler="ann", at=1, fate="vanished", deadline=11),
        given(labeler="bob", at=10.5, deadline=20),
        given(labeler="cy", at=14, deadline=24),
    ]
    assert list(returns(record)) == [0.5, 3.0]
    assert list(returns(record[:1])) == [], "nobody came by: that is seen as an item that is incomplete"


def test_the_record_is_judged_as_a_whole() -> None:
    record = Record(
        given=[given(), given("b", fate="vanished"), given("b", "ann", at=12), given("c"), given("c", "ann", at=1)],
        faults={"500": 2},
        seconds=3.0,
    )
    found = judged(record, ["a", "b", "c", "d"], overlap=1)
    assert (found["hand_outs"], found["double_hand_outs"], found["over_quota"]) == (5, 1, 1)
    assert (found["incomplete"], found["abandoned"], found["faults"]) == (1, 1, {"500": 2})
    assert found["back_after_deadline_s"]["max"] == 2.0


def test_bars_fail_where_nothing_was_measured() -> None:
    quiet = judged(Record(given=[], faults={}, seconds=1.0), ["a"], overlap=1)
    nothing = {"median": math.nan}
    found = {
        "quota": {"overlap_1": quiet, "overlap_2": quiet},
        "rate": {"pairs_per_s": nothing},
        "size": {"lease_p99_ratio": nothing, "submit_p99_ratio": nothing},
    }
    failed = {bar.name for bar in bars(found) if not bar.passed}
    assert {"pairs_per_s", "lease_p99_ratio", "submit_p99_ratio"} <= failed
    assert {"overlap_1_abandoned", "overlap_1_back_after_deadline_s", "overlap_2_incomplete"} <= failed


def test_times_are_milliseconds_as_the_labelers_saw_them() -> None:
    assert timed([given(at=5)]) == {"lease": [pytest.approx(10)], "submit": [pytest.approx(30)]}
    assert spread([3.0, 1.0, 2.0]) == {"n": 3, "median": 2.0, "min": 1.0, "max": 3.0}
