"""Single places: what is there once is removed once, and what is not there does no harm."""

import random
import time
from pathlib import Path

import pytest

from feedback import checks, comparisons, demonstration_reviews, gold, interactions, keys, reviews, scrub, tombstones
from feedback.client import Ledger, encode
from feedback.records import GoldCheck
from tests.builders import NOON, make_completion, make_demonstration, make_interaction, make_prompt, open_comparison

pytestmark = pytest.mark.redis
MARK = tombstones.Tombstone("acme", NOON.timestamp())


def test_an_empty_ledger_has_nothing_to_remove(ledger: Ledger, tmp_path: Path) -> None:
    assert scrub.everything(ledger, tmp_path, MARK) == {}


def test_what_left_the_log_is_still_found_under_its_id(ledger: Ledger) -> None:
    made = make_interaction()
    interactions.append(ledger, made)
    ledger.redis.xtrim(keys.INTERACTIONS, maxlen=0)
    assert scrub.interactions(ledger, MARK) == 1
    assert not ledger.redis.exists(keys.interaction(made.id))
    assert scrub.interactions(ledger, MARK) == 0


def test_what_is_past_its_time_under_its_id_is_still_found_in_the_log(ledger: Ledger) -> None:
    made = make_interaction()
    interactions.append(ledger, made)
    ledger.redis.delete(keys.interaction(made.id), keys.interactions_of("acme"))
    assert scrub.interactions(ledger, MARK) == 1
    assert list(interactions.read(ledger)) == []


def test_a_curator_is_not_stopped_by_what_was_erased_under_its_hands(ledger: Ledger) -> None:
    erased, other = make_interaction(), make_interaction(customer="other")
    interactions.append(ledger, erased)
    interactions.append(ledger, other)
    assert len(list(interactions.read_new(ledger, "one"))) == 2
    scrub.interactions(ledger, MARK)
    assert [each for _, each in interactions.read_new(ledger, "one")] == [other]
    assert interactions.uncurated(ledger) == 1


def test_long_logs_are_read_to_their_end(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub, "PAGE", 3)
    for number in range(10):
        interactions.append(ledger, make_interaction(customer="acme" if number % 2 else "other"))
    assert scrub.interactions(ledger, MARK) == 5
    assert {each.customer for _, each in interactions.read(ledger)} == {"other"}


def test_what_reviewers_said_of_an_erased_item_goes_with_it(ledger: Ledger, tmp_path: Path) -> None:
    made = {}
    for customer in ("acme", "other"):
        prompt = make_prompt(f"A fruit for {customer}?", customer=customer)
        planned = comparisons.plan(ledger, prompt, 2)
        comparisons.complete(ledger, planned, [make_completion("A pear."), make_completion("A plum.")])
        reviews.open_review(ledger, planned.id, "report", f"it names {customer}")
        reviews.resolve(ledger, planned.id, "ranked", "olga", ranking=[[0], [1]], note=f"{customer} wants a pear")
        demonstration = make_demonstration(prompt)
        ledger.redis.xadd(keys.DEMONSTRATIONS, {"record": encode(demonstration)})
        demonstration_reviews.review(ledger, demonstration.id, "returned", "olga", f"{customer} likes plums")
        made[customer] = (planned.id, demonstration.id)
    mark = tombstones.Tombstone("acme", time.time() + 1)
    assert scrub.everything(ledger, tmp_path, mark)["reviews"] == 2
    assert {each.note for each in reviews.adjudications(ledger).values()} == {"", "other wants a pear"}
    assert set(demonstration_reviews.latest(ledger)) == {made["other"][1]}
    assert ledger.redis.hkeys(keys.REVIEWS) == [made["other"][0]]
    assert "acme" not in "".join(map(str, ledger.redis.xrange(keys.AUDIT)))
    assert "reviews" not in scrub.everything(ledger, tmp_path, mark)


def test_a_known_answer_to_an_erased_comparison_goes_with_it(ledger: Ledger) -> None:
    made = {customer: open_comparison(ledger, customer=customer) for customer in ("acme", "other")}
    for each in made.values():
        check = GoldCheck(
            comparison_id=each.id, created_at=NOON, pairs=[(0, 1)], source="operator", explanation="Fruit 0 says so."
        )
        gold.add(ledger, check)
    copy = checks.copy_of(made["acme"], "gold", checks.like(made["acme"].id, random.Random(0)))
    ledger.redis.set(keys.comparison(copy.id), encode(copy))
    assert scrub.comparisons(ledger, tombstones.Tombstone("acme", time.time() + 1)) == 2
    assert [check.comparison_id for check in gold.all_checks(ledger)] == [made["other"].id]
    assert not ledger.redis.exists(keys.comparison(copy.id))
