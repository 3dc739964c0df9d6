"""Who is routed to a canary, and when it has shown enough."""

from bisect import bisect_left
from itertools import accumulate
from math import exp, lgamma, log

import pytest

from feedback.records import Canary, utc_now
from serve.swapping.canary import Outcome, Trial, breach, chosen

GOOD, BAD, SLOW = Outcome(False, 1.0), Outcome(True, 1.0), Outcome(False, 9.0)
CALLERS = [f"conversation-{number}" for number in range(5000)]


def interval(count: int, share: float, confidence: float = 0.999) -> tuple[int, int]:
    """Return the central interval of a binomial distribution."""

    def probability(k: int) -> float:
        ways = lgamma(count + 1) - lgamma(k + 1) - lgamma(count - k + 1)
        return exp(ways + k * log(share) + (count - k) * log(1 - share))

    cumulative = list(accumulate(probability(k) for k in range(count + 1)))
    tail = (1 - confidence) / 2
    return bisect_left(cumulative, tail), bisect_left(cumulative, 1 - tail)


@pytest.mark.parametrize("share", [1, 10, 50, 90])
@pytest.mark.parametrize("version", ["policy-0001", "policy-0002"])
def test_the_share_is_right(version: str, share: int) -> None:
    low, high = interval(len(CALLERS), share / 100)
    assert low <= sum(chosen(version, caller, share) for caller in CALLERS) <= high


def test_a_caller_stays_and_a_greater_share_only_adds_callers() -> None:
    before: set[str] = set()
    for share in range(0, 101, 5):
        now = {caller for caller in CALLERS if chosen("policy-0001", caller, share)}
        assert now == {caller for caller in CALLERS if chosen("policy-0001", caller, share)}
        assert before <= now
        before = now
    assert not any(chosen("policy-0001", caller, 0) for caller in CALLERS)
    assert len(before) == len(CALLERS)


def test_another_canary_draws_other_callers() -> None:
    first, second = ({caller for caller in CALLERS if chosen(version, caller, 10)} for version in ("a", "b"))
    low, high = interval(len(CALLERS), 0.01)
    assert low <= len(first & second) <= high


@pytest.mark.parametrize("sticky", ["", "\ud800", "\0", "x" * 100_000])
def test_any_text_decides(sticky: str) -> None:
    assert chosen("policy-0001", sticky, 100)
    assert not chosen("policy-0001", sticky, 0)


@pytest.mark.parametrize(
    ("live", "canary", "ends"),
    [
        ([GOOD] * 100, [BAD] * 3, True),
        ([GOOD] * 100, [BAD], False),
        ([GOOD] * 100, [GOOD] * 40 + [BAD] * 2, False),
        ([GOOD] * 90 + [BAD] * 10, [GOOD] * 45 + [BAD] * 5, False),
        ([GOOD] * 90 + [BAD] * 10, [GOOD] * 25 + [BAD] * 25, True),
        ([BAD] * 100, [BAD] * 50, False),
        ([GOOD] * 100, [SLOW] * 10, True),
        ([GOOD] * 100, [GOOD] * 50, False),
        ([SLOW] * 100, [SLOW] * 50, False),
        ([GOOD] * 10, [SLOW] * 50, False),
        ([], [BAD] * 8, False),
        ([], [BAD] * 14, True),
        ([], [], False),
    ],
)
def test_a_canary_ends_when_it_does_markedly_worse_than_live(
    live: list[Outcome], canary: list[Outcome], ends: bool
) -> None:
    assert bool(breach(live, canary)) is ends


def test_the_reason_counts_what_was_bad() -> None:
    reason = breach([GOOD] * 100, [GOOD] * 10 + [BAD] * 4 + [SLOW] * 3)
    assert reason == "4 of its last 17 answers failed or were empty and 3 were slow; live: 0 of 100"


def test_a_bad_canary_is_found_within_fifty_requests_and_gets_no_callers_from_then_on() -> None:
    trial = Trial(Canary(version="policy-0002", share=100, actor="olga", since=utc_now()))
    assert trial.takes("anybody")
    for _ in range(20):
        trial.note("policy-0001", "policy-0001", GOOD)
        trial.note("policy-0009", "policy-0001", BAD)  # neither of the two
    answers = 0
    while not trial.breach:
        trial.note("policy-0002", "policy-0001", BAD)
        answers += 1
    assert answers <= 5
    assert not trial.takes("anybody")
    reason = trial.breach
    trial.note("policy-0002", "policy-0001", GOOD)
    assert trial.breach == reason


def test_a_canary_as_good_as_live_is_left_alone_for_thousands_of_answers() -> None:
    trial = Trial(Canary(version="policy-0002", share=50, actor="olga", since=utc_now()))
    for number in range(5000):  # 2 % of both are bad, at fixed places
        outcome = BAD if number % 50 == 7 else GOOD
        trial.note("policy-0001", "policy-0001", outcome)
        trial.note("policy-0002", "policy-0001", outcome)
    assert trial.breach == ""
