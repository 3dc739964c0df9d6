"""Rounds: asked for once, run by one trainer, written stage by stage."""

import threading

import pytest

from feedback import keys, policies, rounds
from feedback.client import Ledger
from feedback.errors import ConfigError, Conflict, NotFound
from feedback.records import Outlook, utc_now
from tests.builders import make_round


def test_a_request_waits_until_its_round_begins(ledger: Ledger) -> None:
    assert rounds.requested(ledger) == ""
    rounds.request(ledger, "ppo")
    assert rounds.requested(ledger) == "ppo"
    with pytest.raises(Conflict, match="already asked for"):
        rounds.request(ledger, "sft")
    made = make_round()
    rounds.begin(ledger, made)
    assert rounds.requested(ledger) == ""
    assert rounds.get(ledger, made.id) == made


def test_an_unknown_kind_is_refused_with_the_ones_that_exist(ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="sft, ppo"):
        rounds.request(ledger, "dpo")


def test_of_twenty_operators_one_gets_the_round(ledger: Ledger) -> None:
    asked: list[bool] = []

    def work() -> None:
        try:
            rounds.request(ledger, "ppo")
        except Conflict:
            asked.append(False)
        else:
            asked.append(True)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(asked) == [False] * 19 + [True]


def test_a_round_changes_by_writing_it_anew(ledger: Ledger) -> None:
    made = make_round()
    rounds.save(ledger, made)
    changed = rounds.update(ledger, made, stage="reward", seconds={"sft": 3.0})
    assert changed.stage == "reward"
    assert rounds.get(ledger, made.id) == changed
    assert made.stage == ""


def test_rounds_are_listed_oldest_first(ledger: Ledger) -> None:
    made = [make_round() for _ in range(3)]
    for each in reversed(made):
        rounds.save(ledger, each)
    assert rounds.list_rounds(ledger) == made


def test_an_unknown_round_is_not_found_by_name(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="rnd_none"):
        rounds.get(ledger, "rnd_none")


def test_one_trainer_holds_the_right_to_run_rounds(ledger: Ledger) -> None:
    assert rounds.hold(ledger, "a")
    assert rounds.hold(ledger, "a"), "its holder renews it"
    assert not rounds.hold(ledger, "b")
    rounds.let_go(ledger, "b")
    assert not rounds.hold(ledger, "b"), "only its holder gives it back"
    rounds.let_go(ledger, "a")
    assert rounds.hold(ledger, "b")


def test_the_right_of_a_dead_trainer_runs_out(ledger: Ledger) -> None:
    rounds.hold(ledger, "dead", ttl_s=60)
    assert 0 < ledger.redis.ttl(keys.ROUND_LOCK) <= 60
    ledger.redis.pexpire(keys.ROUND_LOCK, 1)
    while ledger.redis.exists(keys.ROUND_LOCK):
        pass
    assert rounds.hold(ledger, "heir")


def test_a_round_gets_its_version_once_and_without_a_gap(ledger: Ledger) -> None:
    assert policies.next_version(ledger) == "policy-0000"
    first, second = make_round(), make_round()
    for made in (first, second):
        rounds.save(ledger, made)
    numbered = rounds.give_version(ledger, first)
    assert numbered.version == "policy-0001"
    assert rounds.get(ledger, first.id) == numbered
    assert rounds.give_version(ledger, numbered) == numbered
    assert rounds.give_version(ledger, second).version == "policy-0002"
    assert policies.next_version(ledger) == "policy-0003"


def test_a_running_round_is_cancelled_by_name_and_a_request_is_taken_back(ledger: Ledger) -> None:
    with pytest.raises(Conflict, match="no round is running"):
        rounds.cancel(ledger)
    rounds.request(ledger, "ppo")
    assert rounds.cancel(ledger) == ""
    assert rounds.requested(ledger) == ""
    made = make_round()
    rounds.begin(ledger, made)
    assert not rounds.is_cancelled(ledger, made.id)
    assert rounds.cancel(ledger) == made.id
    assert rounds.is_cancelled(ledger, made.id)
    assert not rounds.is_cancelled(ledger, "rnd_other")
    rounds.begin(ledger, make_round())
    assert not rounds.is_cancelled(ledger, made.id), "the word was for the round before"


def test_what_the_next_round_waits_for_is_forgotten_when_the_trainer_falls_silent(ledger: Ledger) -> None:
    assert rounds.outlook(ledger) is None
    said = Outlook(at=utc_now(), waits_for=["ppo: 37 of 100 new labels"], new_labels=37, new_demonstrations=0)
    rounds.set_outlook(ledger, said)
    assert rounds.outlook(ledger) == said
    assert 0 < ledger.redis.ttl(keys.ROUND_OUTLOOK) <= rounds.OUTLOOK_S
