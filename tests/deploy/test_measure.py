"""What the demonstration measures, on cases small enough to count by hand."""

import pytest

from deploy.demo.measure import agreement, interval, win_rate
from deploy.demo.traffic import Answer, count_faults, in_flight_at
from feedback.records import Label, SwapEvent, utc_now
from sandbox.gold import Gold
from tests.builders import make_comparison, make_label


def gold(score: float) -> Gold:
    return Gold(score, 1.0, True, True, False, False, True, True, 0.0)


def label(comparison: str, labeler: str, ranking: list[list[int]]) -> Label:
    return make_label(make_comparison(3, id=comparison), labeler=labeler, ranking=ranking)


def test_the_win_rate_counts_ties_half() -> None:
    own = [gold(1.0), gold(0.0), gold(0.5), gold(2.0)]
    other = [gold(0.0), gold(1.0), gold(0.5), gold(1.0)]
    found = win_rate(own, other)
    assert found["mean"] == pytest.approx((1 + 0 + 0.5 + 1) / 4)
    assert found["low"] <= found["mean"] <= found["high"]
    assert found["n"] == 4


def test_an_interval_narrows_with_more_values() -> None:
    few, many = interval([0.0, 1.0] * 10), interval([0.0, 1.0] * 500)
    assert many["high"] - many["low"] < few["high"] - few["low"]
    assert interval([0.3] * 50)["low"] == interval([0.3] * 50)["high"] == pytest.approx(0.3)


def test_agreement_counts_only_pairs_that_both_order() -> None:
    labels = [
        label("cmp_1", "ann", [[0], [1], [2]]),
        label("cmp_1", "bob", [[1], [0], [2]]),
        label("cmp_2", "ann", [[0, 1], [2]]),
        label("cmp_2", "bob", [[0], [1], [2]]),
        label("cmp_3", "ann", [[0], [1], [2]]),
    ]
    found = agreement(labels)
    assert found["n"] == 2, "a comparison with one label says nothing"
    assert found["mean"] == pytest.approx(((2 / 3) + 1.0) / 2, abs=1e-4)


def answer(**changes: object) -> Answer:
    fields: dict[str, object] = {
        "prompt": "p",
        "tokens": 3,
        "began_s": 1.0,
        "ended_s": 2.0,
        "header_version": "policy-0001",
        "versions": {"policy-0001"},
        "text": "right",
        "finish_reason": "stop",
        "done": True,
    }
    return Answer(**(fields | changes))  # type: ignore[arg-type]  # fields of Answer


REFERENCE = {("policy-0001", "p", 3): "right", ("policy-0002", "p", 3): "other", ("policy-0001", "p", 4): "right more"}


@pytest.mark.parametrize(
    ("fault", "changes"),
    [
        ("failed", {"error": "HTTP 500"}),
        ("truncated", {"done": False}),
        ("truncated", {"finish_reason": ""}),
        ("mixed_version", {"versions": {"policy-0001", "policy-0002"}}),
        ("mixed_version", {"header_version": "policy-0002", "versions": {"policy-0001"}}),
        ("mixed_version", {"header_version": "policy-0002", "versions": {"policy-0002"}}),
        ("mixed_version", {"text": "right and more"}),
        ("mixed_version", {"tokens": 4}),
    ],
)
def test_every_kind_of_fault_is_counted(fault: str, changes: dict[str, object]) -> None:
    found = count_faults([answer(), answer(**changes)], REFERENCE)
    assert found == {"requests": 2, "failed": 0, "truncated": 0, "mixed_version": 0} | {fault: 1}


def test_exact_answers_have_no_fault() -> None:
    assert sum(list(count_faults([answer()] * 3, REFERENCE).values())[1:]) == 0


def test_only_answers_that_span_the_swap_count_as_in_flight() -> None:
    now = utc_now()
    event = SwapEvent(at=now, replica="r", version="policy-0001", state="live")
    at_s = now.timestamp()
    seen = [
        answer(began_s=at_s - 1, ended_s=at_s + 1),
        answer(began_s=at_s - 2, ended_s=at_s - 1),
        answer(began_s=at_s + 1, ended_s=at_s + 2),
    ]
    assert in_flight_at(seen, event) == 1
