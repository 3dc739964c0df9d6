"""Promotion: the gate never passes what it cannot see, one of many promoters wins, and all of it is written down."""

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from feedback import policies, promotion
from feedback.client import Ledger
from feedback.errors import Conflict, NotFound
from feedback.promotion import Thresholds, judge
from feedback.records import EvaluationReport
from tests.builders import make_policy, make_report, make_swap

BARS = Thresholds()
FIGURES = ["win_rate", "kl_nats", "length_ratio", "eos_rate", "pretraining_loss_rise"]


def register(ledger: Ledger, count: int) -> list[str]:
    versions = [f"policy-{number:04d}" for number in range(count)]
    for version in versions:
        policies.register(ledger, make_policy(version))
    return versions


def in_threads(work: Callable[[int], Any], count: int = 20) -> list[int]:
    """Run ``work(number)`` in threads at once; return the numbers of those that met no conflict."""
    start = threading.Barrier(count)
    won: list[int] = []

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
        except Conflict:
            return
        won.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won


def report_with(figure: str, value: object) -> EvaluationReport:
    figures: dict[str, Any] = {figure: value}
    return make_report(**figures)


def test_a_good_candidate_passes_with_a_reason_for_every_check() -> None:
    decision = judge(make_report(), BARS)
    assert decision.promote
    assert len(decision.reasons) == 6
    assert all(reason.startswith("pass ") for reason in decision.reasons)


def test_without_a_report_nothing_passes() -> None:
    decision = judge(None, BARS)
    assert not decision.promote
    assert decision.reasons == ["FAIL no evaluation report"]


@pytest.mark.parametrize("figure", FIGURES)
def test_a_missing_figure_fails_and_is_named(figure: str) -> None:
    report = make_report()
    figures = {name: value for name, value in report.figures.items() if name != figure}
    decision = judge(msgspec.structs.replace(report, figures=figures), BARS)
    assert not decision.promote
    assert any(reason.startswith(f"FAIL {figure}") and "missing" in reason for reason in decision.reasons)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("value", [None, "good", float("nan"), [], {}], ids=["none", "text", "nan", "list", "dict"])
def test_a_figure_that_is_no_number_fails(figure: str, value: object) -> None:
    assert not judge(report_with(figure, value), BARS).promote


@pytest.mark.parametrize("part", ["low", "n"])
def test_an_incomplete_win_rate_fails(part: str) -> None:
    win_rate = {"mean": 0.7, "low": 0.61, "high": 0.78, "n": 120}
    del win_rate[part]
    decision = judge(make_report(win_rate=win_rate), BARS)
    assert not decision.promote
    assert any(f"win_rate.{part} is missing" in reason for reason in decision.reasons)


@pytest.mark.parametrize(
    ("figures", "passes"),
    [
        ({"win_rate": {"low": 0.5, "n": 120}}, False),
        ({"win_rate": {"low": 0.5001, "n": 50}}, True),
        ({"win_rate": {"low": 0.9, "n": 49}}, False),
        ({"kl_nats": 30.0}, True),
        ({"kl_nats": 30.01}, False),
        ({"length_ratio": 2.0}, True),
        ({"length_ratio": 2.01}, False),
        ({"eos_rate": 0.5}, True),
        ({"eos_rate": 0.49}, False),
        ({"pretraining_loss_rise": 0.25}, True),
        ({"pretraining_loss_rise": 0.26}, False),
        ({"kl_nats": float("inf")}, False),
    ],
)
def test_each_bar_decides_at_its_edge(figures: dict[str, Any], passes: bool) -> None:
    decision = judge(make_report(**figures), BARS)
    assert decision.promote is passes
    assert sum(reason.startswith("FAIL") for reason in decision.reasons) == (0 if passes else 1)


def test_the_first_promotion_makes_a_policy_live_without_a_previous_one(ledger: Ledger) -> None:
    register(ledger, 1)
    assert promotion.promote(ledger, "candidate", "olga") == "policy-0000"
    assert policies.aliases(ledger) == {"live": "policy-0000"}


def test_a_promotion_moves_live_and_previous_together(ledger: Ledger) -> None:
    register(ledger, 3)
    promotion.promote(ledger, "policy-0000", "olga")
    promotion.promote(ledger, "policy-0001", "olga")
    assert policies.aliases(ledger) == {"live": "policy-0001", "previous": "policy-0000", "candidate": "policy-0002"}


def test_what_is_live_already_cannot_be_promoted(ledger: Ledger) -> None:
    register(ledger, 1)
    promotion.promote(ledger, "policy-0000", "olga")
    with pytest.raises(Conflict, match="policy-0000 is live already"):
        promotion.promote(ledger, "live", "olga")
    assert len(list(promotion.audit(ledger))) == 1


def test_an_unknown_policy_is_not_found_and_nothing_moves(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="policy-0009"):
        promotion.promote(ledger, "policy-0009", "olga")
    assert policies.aliases(ledger) == {}
    assert list(promotion.audit(ledger)) == []


def test_a_roll_back_is_undone_by_a_roll_back(ledger: Ledger) -> None:
    register(ledger, 2)
    promotion.promote(ledger, "policy-0000", "olga")
    promotion.promote(ledger, "policy-0001", "olga")
    assert promotion.roll_back(ledger, "olga", "worse") == "policy-0000"
    assert policies.aliases(ledger) == {"live": "policy-0000", "previous": "policy-0001"}
    assert promotion.roll_back(ledger, "olga") == "policy-0001"


@pytest.mark.parametrize("count", [0, 1])
def test_without_a_previous_version_there_is_nothing_to_roll_back_to(ledger: Ledger, count: int) -> None:
    for version in register(ledger, count):
        promotion.promote(ledger, version, "olga")
    with pytest.raises(Conflict, match="no previous version"):
        promotion.roll_back(ledger, "olga")


def test_whoever_saw_an_old_live_moves_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    register(ledger, 3)
    promotion.promote(ledger, "policy-0000", "olga")
    promotion.promote(ledger, "policy-0001", "olga")
    seen = policies.aliases(ledger)
    promotion.promote(ledger, "policy-0002", "max")
    monkeypatch.setattr(policies, "aliases", lambda _: seen)
    with pytest.raises(Conflict, match="live moved to 'policy-0002'"):
        promotion.roll_back(ledger, "olga")
    monkeypatch.undo()
    assert policies.aliases(ledger)["live"] == "policy-0002"


def test_twenty_promoters_leave_one_chain_of_moves_in_the_audit(ledger: Ledger) -> None:
    versions = register(ledger, 21)
    promotion.promote(ledger, versions[0], "olga")
    won = in_threads(lambda number: promotion.promote(ledger, versions[number + 1], f"operator-{number}"))
    assert won
    moves = list(promotion.audit(ledger))[1:]
    assert len(moves) == len(won), "every move that succeeded is written down, and no other"
    assert sorted(move.actor for move in moves) == sorted(f"operator-{number}" for number in won)
    chain = [versions[0], *(move.after for move in moves)]
    assert [move.before for move in moves] == chain[:-1]
    assert policies.aliases(ledger)["live"] == chain[-1]
    assert policies.aliases(ledger)["previous"] == chain[-2]


def test_of_twenty_promoters_that_saw_the_same_live_one_wins(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = register(ledger, 21)
    promotion.promote(ledger, versions[0], "olga")
    seen = policies.aliases(ledger)
    monkeypatch.setattr(policies, "aliases", lambda _: seen)
    won = in_threads(lambda number: promotion.promote(ledger, versions[number + 1], f"operator-{number}"))
    monkeypatch.undo()
    assert len(won) == 1
    assert policies.aliases(ledger)["live"] == versions[won[0] + 1]
    assert len(list(promotion.audit(ledger))) == 2


def test_the_audit_says_who_moved_what_when_and_why(ledger: Ledger) -> None:
    register(ledger, 2)
    promotion.promote(ledger, "policy-0000", "olga", "first")
    promotion.promote(ledger, "policy-0001", "max", "better")
    promotion.roll_back(ledger, "olga", "rude")
    promotion.note(ledger, "olga", "start round", "ppo")
    told = [
        (each.actor, each.action, each.subject, each.before, each.after, each.reason)
        for each in promotion.audit(ledger)
    ]
    assert told == [
        ("olga", "promote", "live", "", "policy-0000", "first"),
        ("max", "promote", "live", "policy-0000", "policy-0001", "better"),
        ("olga", "roll back", "live", "policy-0001", "policy-0000", "rude"),
        ("olga", "start round", "ppo", "", "", ""),
    ]
    moments = [each.at for each in promotion.audit(ledger)]
    assert moments == sorted(moments)


def test_swap_events_are_kept_in_order(ledger: Ledger) -> None:
    made = [make_swap(), make_swap(state="live", load_s=1.5, in_flight=8)]
    for each in made:
        promotion.record_swap(ledger, each)
    assert list(promotion.swaps(ledger)) == made


def test_a_policy_whose_training_a_guard_ended_fails_the_gate_with_the_reason() -> None:
    decision = judge(make_report(stopped="kl 40 nats is over its budget"), Thresholds())
    assert not decision.promote
    assert decision.reasons[0] == "FAIL training was stopped by a guard: kl 40 nats is over its budget"
    assert judge(make_report(), Thresholds()).promote


def test_the_last_time_that_each_version_became_live_is_known(ledger: Ledger) -> None:
    first, second = register(ledger, 2)
    promotion.promote(ledger, first, "max")
    promotion.promote(ledger, second, "max")
    promotion.note(ledger, "max", "look", first)
    moments = [entry.at for entry in promotion.audit(ledger)]
    assert promotion.promoted_at(ledger) == {first: moments[0], second: moments[1]}
    promotion.roll_back(ledger, "max")
    assert promotion.promoted_at(ledger)[first] > moments[1]
    assert promotion.promoted_at(ledger, most=1).keys() == {first}
