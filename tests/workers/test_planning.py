"""Planning: which prompts become comparisons, of which shape, and never twice."""

from collections.abc import Callable

import msgspec

from feedback import collection, comparisons, leases, queues
from feedback.client import Ledger, encode
from feedback.records import Interaction
from tests.builders import open_comparison
from workers import planning
from workers.settings import WorkerSettings
from workers.tasks.curate import keep

Ask = Callable[..., Interaction]


def changed(settings: WorkerSettings, **values: object) -> WorkerSettings:
    return settings.model_copy(update=values)


def fill(ledger: Ledger, settings: WorkerSettings, ask: Ask, count: int) -> None:
    for number in range(count):
        assert keep(ledger, ask(f"question {number}", customer=f"customer {number}"), settings.rules) == "kept"


def test_every_kept_prompt_becomes_one_comparison_with_k_slots(
    ledger: Ledger, settings: WorkerSettings, ask: Ask
) -> None:
    fill(ledger, settings, ask, 5)
    assert planning.plan_comparisons(ledger, settings) == 5
    assert planning.plan_comparisons(ledger, settings) == 0
    claims = comparisons.claim(ledger, 10, 1)
    assert {comparisons.get(ledger, claim.id).k for claim in claims} == {4}
    assert len(claims) == 5


def test_a_crash_between_plan_and_note_doubles_nothing(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    fill(ledger, settings, ask, 3)
    for prompt in collection.wanting(ledger, "comparison", 2):
        comparisons.plan(ledger, prompt, 4, id=planning.comparison_id(prompt))
    planning.plan_comparisons(ledger, settings)
    assert comparisons.being_sampled(ledger) == 3


def test_planning_again_after_completion_does_not_reopen(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    fill(ledger, settings, ask, 1)
    prompt = collection.wanting(ledger, "comparison", 1)[0]
    first = comparisons.plan(ledger, prompt, 4, id=planning.comparison_id(prompt))
    ledger.redis.zrem("ws:sampling", first.id)
    planning.plan_comparisons(ledger, settings)
    assert comparisons.being_sampled(ledger) == 0


def test_prompts_wait_while_too_many_comparisons_are_open(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    fill(ledger, settings, ask, 5)
    few = changed(settings, max_open_comparisons=2)
    assert planning.plan_comparisons(ledger, few) == 2
    assert planning.plan_comparisons(ledger, few) == 0
    assert collection.backlog(ledger, "comparison") == 3
    assert planning.plan_comparisons(ledger, settings) == 3


def test_what_is_not_collected_now_waits(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    fill(ledger, settings, ask, 4)
    every = changed(settings, demonstration_every=1)
    collection.collect(ledger, "demonstrations")
    assert planning.plan_comparisons(ledger, every) == 0
    assert planning.request_demonstrations(ledger, every) == 4
    assert leases.waiting(ledger, "demonstration") == 4
    collection.collect(ledger, "comparisons")
    assert planning.plan_comparisons(ledger, every) == 4


def test_one_in_n_prompts_is_demonstrated_and_always_the_same_ones() -> None:
    ids = [f"pro_{number}" for number in range(3000)]
    first = [id for id in ids if planning.chosen(id, "demonstration", 1 / 3)]
    assert first == [id for id in ids if planning.chosen(id, "demonstration", 1 / 3)]
    assert 850 < len(first) < 1150


def test_shares_of_none_and_all() -> None:
    ids = [f"pro_{number}" for number in range(100)]
    assert all(planning.chosen(id, "comparison", 1.0) for id in ids)
    assert not any(planning.chosen(id, "comparison", 0.0) for id in ids)


def test_prompts_of_the_test_split_are_never_labelled(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    rules = msgspec.structs.replace(settings.rules, test_percent=100)
    assert keep(ledger, ask("held out"), rules) == "kept"
    assert collection.backlog(ledger, "comparison") == collection.backlog(ledger, "demonstration") == 0


def test_validation_prompts_are_for_agreement_and_ranked_by_several(
    ledger: Ledger, settings: WorkerSettings, ask: Ask
) -> None:
    rules = msgspec.structs.replace(settings.rules, valid_percent=100)
    keep(ledger, ask("a prompt of a validation customer"), rules)
    planning.plan_comparisons(ledger, settings)
    [claim] = comparisons.claim(ledger, 1, 1)
    found = comparisons.get(ledger, claim.id)
    assert (found.purpose, found.overlap, found.queue) == ("agreement", 4, "agreement")


def test_the_queue_that_a_prompt_is_routed_to_says_what_its_comparison_is(
    ledger: Ledger, settings: WorkerSettings, ask: Ask
) -> None:
    fill(ledger, settings, ask, 2)
    chat = {"use_cases": ["chat"], "k": 9, "models": ["live", "live", "sft"], "overlap": 2}
    queues.put(ledger, "talk", **chat, extra_overlap=1, extra_overlap_percent=100)
    first = collection.wanting(ledger, "comparison", 1)[0]
    ledger.redis.hset("ws:prompts", first.id, encode(msgspec.structs.replace(first, use_case="chat")))
    assert planning.plan_comparisons(ledger, settings) == 2
    found = {claim.id: comparisons.get(ledger, claim.id) for claim in comparisons.claim(ledger, 10, 1)}
    talk = found.pop(planning.comparison_id(first))
    assert (talk.queue, talk.k, talk.models, talk.overlap) == ("talk", 9, ["live", "live", "sft"], 3)
    assert (talk.use_case, talk.key_id) == ("chat", first.key_id)
    [other] = found.values()
    assert (other.queue, other.k, other.models, other.overlap) == ("training", 4, ["live"], 1)


def test_what_waits_in_any_queue_leaves_less_room(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    fill(ledger, settings, ask, 3)
    queues.put(ledger, "talk", use_cases=["chat"])
    open_comparison(ledger, queue="talk")
    assert planning.plan_comparisons(ledger, changed(settings, max_open_comparisons=3)) == 2
