"""Queues: which prompt goes where, what an operator may change, and how a lease is drawn."""

import pytest

from feedback import queues
from feedback.client import Ledger
from feedback.errors import InvalidRecord, NotFound
from feedback.records import QueueConfig
from tests.builders import make_prompt

GERMAN = QueueConfig(name="german", languages=["de"])
GERMAN_CHAT = QueueConfig(name="german-chat", languages=["de"], use_cases=["chat"])


def test_built_in_queues_are_there_before_anybody_said_anything(ledger: Ledger) -> None:
    assert set(queues.configs(ledger)) == {"training", "agreement", "evaluation"}
    assert all(config.name == name for name, config in queues.configs(ledger).items())
    assert queues.get(ledger, "demonstration").name == "demonstration"
    with pytest.raises(NotFound, match="nowhere"):
        queues.get(ledger, "nowhere")


def test_a_change_keeps_what_it_does_not_name(ledger: Ledger) -> None:
    queues.put(ledger, "agreement", overlap=3)
    queues.put(ledger, "agreement", daily_goal=40)
    found = queues.configs(ledger)["agreement"]
    assert (found.purpose, found.overlap, found.daily_goal) == ("agreement", 3, 40)
    assert queues.get(ledger, "agreement") == found


def test_operators_add_queues_and_set_rules_for_demonstrations(ledger: Ledger) -> None:
    queues.put(ledger, "medical", needs=["medicine"], daily_cap=20)
    queues.put(ledger, "demonstration", daily_cap=5)
    assert set(queues.configs(ledger)) == {"training", "agreement", "evaluation", "medical"}
    assert queues.get(ledger, "demonstration").daily_cap == 5


@pytest.mark.parametrize(
    ("name", "settings", "complaint"),
    [
        ("checks", {}, "reserved"),
        ("Bad Name", {}, "name"),
        ("agreement", {"purpose": "training"}, "purpose"),
        ("new", {"random_percent": 60, "disagreement_percent": 60}, "more than 100"),
        ("new", {"models": []}, "models"),
        ("new", {"k": 10}, "<= 9"),
        ("new", {"lease_s": 1}, ">= 10"),
        ("new", {"colour": "red"}, "colour"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_changes(
    ledger: Ledger, name: str, settings: dict[str, object], complaint: str
) -> None:
    before = queues.configs(ledger)
    with pytest.raises(InvalidRecord, match=complaint):
        queues.put(ledger, name, **settings)
    assert queues.configs(ledger) == before


def test_the_most_particular_queue_gets_a_prompt() -> None:
    found = {**queues.BUILT_IN, "german": GERMAN, "german-chat": GERMAN_CHAT}
    german, chat = make_prompt(language="de"), make_prompt(language="de", use_case="chat")
    assert queues.route(chat, "training", found).name == "german-chat"
    assert queues.route(german, "training", found).name == "german"
    assert queues.route(make_prompt(language="en"), "training", found).name == "training"
    assert queues.route(make_prompt(), "training", found).name == "training"
    assert queues.route(chat, "agreement", found).name == "agreement", "queues for training take nothing else"
    assert queues.route(chat, "evaluation", found).name == "evaluation"


def test_a_queue_that_was_narrowed_leaves_the_rest_to_others() -> None:
    narrow = queues.changed(queues.BUILT_IN["training"], languages=["en"])
    found = {**queues.BUILT_IN, "training": narrow, "rest": QueueConfig(name="rest")}
    assert queues.route(make_prompt(language="fr"), "training", found).name == "rest"
    assert queues.route(make_prompt(language="fr"), "training", {"training": narrow}).name == "training", "never lost"


def test_the_built_in_queue_is_preferred_among_equals() -> None:
    found = {"a": QueueConfig(name="a"), **queues.BUILT_IN}
    assert queues.route(make_prompt(), "training", found).name == "training"


def test_extra_overlap_goes_to_its_share_of_the_items_and_always_to_the_same() -> None:
    config = QueueConfig(name="training", overlap=1, extra_overlap=2, extra_overlap_percent=15)
    drawn = [queues.overlap(config, f"cmp_{number}") for number in range(4000)]
    assert set(drawn) == {1, 3}
    assert drawn.count(3) / 4000 == pytest.approx(0.15, abs=0.02)
    assert drawn == [queues.overlap(config, f"cmp_{number}") for number in range(4000)]
    assert queues.overlap(QueueConfig(name="training", overlap=2), "cmp_1") == 2
    all_of_them = queues.changed(config, extra_overlap_percent=100)
    assert {queues.overlap(all_of_them, f"cmp_{number}") for number in range(100)} == {3}


def test_a_labeler_needs_every_skill() -> None:
    config = QueueConfig(name="medical", needs=["medicine", "lang:de"])
    assert queues.may_take(config, ["lang:de", "medicine", "law"])
    assert not queues.may_take(config, ["medicine"])
    assert queues.may_take(QueueConfig(name="training"), [])


def test_draws_become_checks_and_picks_at_their_shares() -> None:
    config = QueueConfig(name="q", random_percent=10, disagreement_percent=20, gold_percent=6, repeat_percent=2)
    assert queues.lease_of(config, 0.079, 0.5) == (True, "")
    assert queues.lease_of(config, 0.081, 0.099) == (False, "random")
    assert queues.lease_of(config, 0.999, 0.101) == (False, "disagreement")
    assert queues.lease_of(config, 0.999, 0.301) == (False, "")
