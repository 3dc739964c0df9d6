"""The overview: the whole loop in plain values, without changing it."""

import json

from feedback import comparisons, demonstrations, interactions, keys, labels, policies, promotion, prompts, rounds
from feedback.client import Ledger
from feedback.curation import text_of
from feedback.overview import overview, replicas
from feedback.records import Outlook, utc_now
from tests.builders import (
    lease_next,
    make_interaction,
    make_label,
    make_policy,
    make_prompt,
    make_round,
    open_comparison,
)


def test_an_empty_ledger_has_an_overview_of_nothing(ledger: Ledger) -> None:
    found = overview(ledger)
    assert found["aliases"] == {}
    assert set(found["queues"].values()) == {0}
    assert set(found["counts"].values()) == {0}
    assert (found["collect"], found["round"], found["round_requested"], found["dead_letters"]) == ("both", None, "", 0)
    assert replicas(ledger) == {}


def test_everything_that_waits_or_is_done_is_counted(ledger: Ledger) -> None:
    interactions.append(ledger, make_interaction())
    prompt = make_prompt()
    prompts.keep(ledger, prompt, text_of(prompt.messages), 200)
    demonstrations.request(ledger, prompt)
    comparisons.plan(ledger, prompt, 4)
    comparisons.bury(ledger, comparisons.plan(ledger, prompt, 4).id, "too long")
    labelled = open_comparison(ledger)
    labels.submit(ledger, make_label(labelled), labelled, lease_next(ledger).token)
    open_comparison(ledger)
    policies.register(ledger, make_policy())
    promotion.promote(ledger, "candidate", "olga")
    rounds.request(ledger, "ppo")
    made = make_round()
    rounds.save(ledger, made)
    said = Outlook(at=utc_now(), waits_for=["ppo: 37 of 100 new labels"], new_labels=37, new_demonstrations=0)
    rounds.set_outlook(ledger, said)
    found = overview(ledger)
    assert found["aliases"] == {"live": "policy-0000"}
    assert found["queues"] == {"training": 1, "agreement": 0, "evaluation": 0, "demonstration": 1, "being_sampled": 1}
    assert found["counts"] == {"interactions": 1, "prompts": 1, "labels": 1, "demonstrations": 0}
    assert (found["dead_letters"], found["buried"]) == (1, {"too long": 1})
    assert found["round"]["id"] == made.id
    assert found["round_requested"] == "ppo"
    assert found["round_outlook"]["waits_for"] == ["ppo: 37 of 100 new labels"]
    json.dumps(found)


def test_looking_changes_nothing(ledger: Ledger) -> None:
    open_comparison(ledger)
    before = sorted(ledger.redis.scan_iter())
    assert overview(ledger) == overview(ledger)
    assert sorted(ledger.redis.scan_iter()) == before


def test_replicas_say_what_they_hold_under_their_names(ledger: Ledger) -> None:
    ledger.redis.set(keys.replica("one"), '{"live": "policy-0001"}', ex=15)
    assert replicas(ledger) == {"one": {"live": "policy-0001"}}
