"""When a round begins by itself: each rule on its own, and which goes before which."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from feedback.errors import ConfigError
from feedback.records import Round
from tests.builders import make_round
from trainer.rounds.triggers import LONGEST_PAUSE_S, Situation, Verdict, decide
from trainer.settings.service import TrainerSettings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def settings(**changes: Any) -> TrainerSettings:
    return TrainerSettings.load(**changes)


def situation(**changes: Any) -> Situation:
    base: dict[str, Any] = {
        "now": NOW,
        "asked": "",
        "has_sft": True,
        "demonstrations": 0,
        "new_labels": 0,
        "new_demonstrations": 0,
        "ended": [],
    }
    return Situation(**base | changes)


def ended(state: str = "done", kind: str = "ppo", ago_s: float = 0.0) -> Round:
    at = NOW - timedelta(seconds=ago_s)
    return make_round(state=state, kind=kind, created_at=at - timedelta(seconds=60), finished_at=at)


def test_without_rules_only_an_operators_word_starts_a_round() -> None:
    found = situation(new_labels=10**6, new_demonstrations=10**6, demonstrations=10**6)
    assert decide(settings(), found) == Verdict(waits_for=("an operator's word",))
    assert decide(settings(), situation(asked="sft")).kind == "sft"
    assert decide(settings(), situation(asked="ppo")) == Verdict(kind="ppo", reason="an operator asked for it")


def test_enough_new_labels_start_a_ppo_round_and_fewer_are_counted() -> None:
    hundred = settings(min_new_labels=100)
    assert decide(hundred, situation(new_labels=37)) == Verdict(waits_for=("ppo: 37 of 100 new labels",))
    assert decide(hundred, situation(new_labels=100)) == Verdict(kind="ppo", reason="100 new labels (at least 100)")


def test_the_first_sft_policy_comes_before_all_ppo_rounds() -> None:
    rules = settings(min_new_labels=10, min_demonstrations=16)
    found = situation(has_sft=False, new_labels=50, demonstrations=9)
    said = decide(rules, found)
    assert said.waits_for == ("sft: 9 of 16 demonstrations, no SFT policy yet", "ppo: a first SFT policy")
    assert decide(rules, situation(has_sft=False, demonstrations=16)).kind == "sft"


def test_new_demonstrations_start_an_sft_round() -> None:
    rules = settings(min_new_demonstrations=20, min_demonstrations=16)
    assert decide(rules, situation(new_demonstrations=19)).waits_for == ("sft: 19 of 20 new demonstrations",)
    assert decide(rules, situation(new_demonstrations=20)).kind == "sft"
    few = settings(min_new_demonstrations=2, min_demonstrations=16)
    assert decide(few, situation(has_sft=False, new_demonstrations=15)).kind == "", "an SFT round would refuse"


def test_after_some_hours_fewer_labels_are_enough() -> None:
    rules = settings(min_new_labels=100, round_after_hours=24, round_after_labels=5)
    recent, old = [ended(ago_s=3600)], [ended(ago_s=25 * 3600)]
    assert decide(rules, situation(new_labels=50, ended=recent)).waits_for == (
        "ppo: 50 of 100 new labels",
        "ppo: 1.0 of 24 hours since the last one",
    )
    assert decide(rules, situation(new_labels=4, ended=old)).waits_for[1] == "ppo: 4 of 5 new labels"
    assert decide(rules, situation(new_labels=5, ended=old)).reason == (
        "5 new labels (at least 5), 25.0 hours since the last ppo round"
    )
    failed_since = [*old, ended("failed", ago_s=7200)]
    assert decide(rules, situation(new_labels=5, ended=failed_since)).kind == "ppo", "a failed round is no round"
    assert decide(rules, situation(new_labels=5)).reason.endswith("no ppo round before")


@pytest.mark.parametrize(
    ("failures", "pause_s"), [(1, 600), (2, 1200), (3, 2400), (9, LONGEST_PAUSE_S), (5000, LONGEST_PAUSE_S)]
)
def test_each_failure_in_a_row_doubles_the_pause_up_to_a_day(failures: int, pause_s: float) -> None:
    rules = settings(min_new_labels=1)
    for ago_s, kind in ((pause_s - 1, ""), (pause_s, "ppo")):
        rounds = [ended(ago_s=10**6), *[ended("failed", ago_s=ago_s)] * failures]
        assert decide(rules, situation(new_labels=1, ended=rounds)).kind == kind


def test_a_pause_is_told_with_what_it_holds_up_and_an_operator_needs_none() -> None:
    rules = settings(min_new_labels=1)
    found = situation(new_labels=1, ended=[ended("cancelled", ago_s=10)])
    assert decide(rules, found).waits_for == (
        "ppo is due: 1 new labels (at least 1); held up by",
        "the pause after a cancelled round: 590 s left",
    )
    assert decide(rules, situation(new_labels=1, ended=found.ended, asked="ppo")).kind == "ppo"


def test_a_success_ends_the_pause() -> None:
    rules = settings(min_new_labels=1)
    assert decide(rules, situation(new_labels=1, ended=[ended("failed"), ended("done")])).kind == "ppo"


def test_rounds_keep_the_gap_between_them() -> None:
    rules = settings(min_new_labels=1, round_gap_s=300)
    assert decide(rules, situation(new_labels=1, ended=[ended(ago_s=299)])).kind == ""
    assert decide(rules, situation(new_labels=1, ended=[ended(ago_s=300)])).kind == "ppo"


@pytest.mark.parametrize(
    ("window", "inside"),
    [
        ("11:00-13:00", True),
        ("12:00-12:01", True),
        ("13:00-14:00", False),
        ("11:00-12:00", False),
        ("22:00-06:00", False),
        ("22:00-12:01", True),
        ("12:00-06:00", True),
    ],
)
def test_rounds_begin_by_themselves_in_their_time_of_day_only(window: str, inside: bool) -> None:
    rules = settings(min_new_labels=1, round_window=window)
    said = decide(rules, situation(new_labels=1))
    assert said.kind == ("ppo" if inside else "")
    assert inside or said.waits_for[1] == f"the time of day: {window} UTC"


@pytest.mark.parametrize("window", ["22-6", "25:00-06:00", "22:00", "22:00-06:60"])
def test_a_window_that_is_none_is_refused(window: str) -> None:
    with pytest.raises(ConfigError, match="WHETSTONE_ROUND_WINDOW"):
        settings(round_window=window)
