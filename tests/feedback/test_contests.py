"""Contests: which prompts, which policies, planned once, blind and never for training."""

import json
from collections import Counter

import pytest

from feedback import comparisons, contests, keys, policies, promotion, prompts, queues
from feedback.client import Ledger, encode
from feedback.errors import Conflict, NotFound
from feedback.records import Contest
from tests.builders import make_policy, make_prompt


def serve(ledger: Ledger, **states: str) -> None:
    """A replica that holds these versions in these states."""
    slots = [{"slot": "a", "version": f"policy-000{name[1:]}", "state": state} for name, state in states.items()]
    ledger.redis.set(keys.replica("one"), json.dumps({"slots": slots}))


def fill(ledger: Ledger, count: int, customers: int = 4, split: str = "test", first: int = 0) -> None:
    for number in range(first, first + count):
        prompt = make_prompt(f"Question {number} of {split}?", customer=f"{split} {number % customers}", split=split)
        assert prompts.keep(ledger, prompt, f"{number:05} of {split}", 1000) == "kept"


@pytest.fixture
def ready(ledger: Ledger) -> Ledger:
    """Three policies, two of them served, and prompts of held-out and other customers."""
    for number in range(3):
        policies.register(ledger, make_policy(f"policy-000{number}"))
    promotion.promote(ledger, "policy-0001", "olga")
    serve(ledger, p0="ready", p1="ready", p2="loading")
    fill(ledger, 12)
    fill(ledger, 12, split="train")
    return ledger


def begin(ledger: Ledger, count: int = 8) -> Contest:
    return contests.start(ledger, "live", "policy-0000", prompts=count, actor="olga", reason="is it better?")


def test_a_contest_is_between_versions_on_prompts_of_held_out_customers(ready: Ledger) -> None:
    contest = begin(ready)
    assert (contest.a, contest.b, contest.state, contest.overlap) == ("policy-0001", "policy-0000", "planned", 3)
    chosen = [prompts.get(ready, id) for id in contest.prompts]
    assert {prompt.split for prompt in chosen} == {"test"}
    assert set(Counter(prompt.customer for prompt in chosen).values()) == {2}, "customers take turns"
    assert contests.get(ready, contest.id) == contest
    assert contests.list_contests(ready) == [contest]
    assert [entry.action for entry in promotion.audit(ready)][-1] == "start contest"


def test_what_cannot_be_compared_is_refused_with_the_reason(ready: Ledger) -> None:
    with pytest.raises(Conflict, match="policy-0001 cannot be compared with itself"):
        contests.start(ready, "live", "policy-0001", prompts=1, actor="olga")
    with pytest.raises(Conflict, match="no replica serves policy-0002; stage it with"):
        contests.start(ready, "live", "policy-0002", prompts=1, actor="olga")
    with pytest.raises(NotFound, match="policy-0009"):
        contests.start(ready, "live", "policy-0009", prompts=1, actor="olga")
    with pytest.raises(Conflict, match="13 prompts asked for; the pool holds 12 of held-out customers"):
        begin(ready, 13)
    with pytest.raises(NotFound, match="cts_none"):
        contests.get(ready, "cts_none")
    assert contests.list_contests(ready) == []


def test_its_comparisons_are_planned_once_with_priority_for_evaluation_only(ready: Ledger) -> None:
    contest = begin(ready)
    assert contests.plan(ready) == 8
    assert contests.plan(ready) == 0
    assert contests.get(ready, contest.id).state == "running"
    ids = [contests.comparison_id(contest, id) for id in contest.prompts]
    for comparison in (comparisons.get(ready, id) for id in ids):
        assert (comparison.purpose, comparison.split, comparison.k) == ("evaluation", "test", 2)
        assert (comparison.overlap, comparison.priority, comparison.queue) == (3, True, "evaluation")
        assert set(comparison.models) == {contest.a, contest.b}
    assert comparisons.being_sampled(ready) == 8


def test_planning_that_was_interrupted_goes_on_and_doubles_nothing(ready: Ledger) -> None:
    contest = begin(ready)
    contests.plan(ready)
    ready.redis.hset(keys.CONTESTS, contest.id, encode(contest))  # it died before it noted that all is planned
    assert contests.plan(ready) == 8
    assert comparisons.being_sampled(ready) == 8


def test_which_side_is_first_is_about_even(ready: Ledger) -> None:
    fill(ready, 300, customers=50, first=100)
    contest = begin(ready, 200)
    contests.plan(ready)
    found = comparisons.get_many(ready, [contests.comparison_id(contest, id) for id in contest.prompts])
    first = Counter(each.models[0] for each in found if each is not None)
    assert 70 < first["policy-0001"] < 130


def test_an_erased_prompt_is_passed_over(ready: Ledger) -> None:
    contest = begin(ready)
    ready.redis.hdel(keys.PROMPTS, contest.prompts[0])
    assert contests.plan(ready) == 7
    assert contests.get(ready, contest.id).state == "running"


def test_a_queue_for_evaluation_in_one_language_takes_its_prompts(ready: Ledger) -> None:
    queues.put(ready, "german", purpose="evaluation", languages=["de"], k=2)
    prompt = make_prompt("Wie spät ist es?", customer="test d", split="test", language="de")
    prompts.keep(ready, prompt, "de", 1000)
    contest = begin(ready, 13)
    contests.plan(ready)
    assert comparisons.get(ready, contests.comparison_id(contest, prompt.id)).queue == "german"


def test_drawing_is_fair_repeatable_and_bounded() -> None:
    pool = [make_prompt(f"{n}", id=f"pro_{n}", customer="big" if n < 90 else f"small {n}") for n in range(100)]
    drawn = contests.drawn(pool, 20, "seed")
    assert drawn == contests.drawn(reversed(pool), 20, "seed")
    assert drawn != contests.drawn(pool, 20, "another seed")
    assert len(set(drawn)) == 20
    assert sum(int(id.removeprefix("pro_")) >= 90 for id in drawn) == 10, "every small customer has a turn"
    assert len(contests.drawn(pool, 1000, "seed")) == 100
