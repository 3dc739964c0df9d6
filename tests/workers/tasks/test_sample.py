"""Sampling tasks on a real ledger and real HTTP: claims, fencing, refusals, dead letters."""

import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from feedback import comparisons, keys, places, policies, promotion
from feedback.client import Ledger
from feedback.errors import LedgerUnavailable
from feedback.records import Comparison, Interaction
from tests.builders import make_completion, make_policy, make_prompt
from workers.settings import WorkerSettings
from workers.tasks.curate import curate
from workers.tasks.sample import sample

Ask = Callable[..., Interaction]


def plan(ledger: Ledger, settings: WorkerSettings, ask: Ask, count: int) -> list[Comparison]:
    for number in range(count):
        ask(f"question {number}", customer=f"customer {number}")
    curate(ledger, settings)
    ids = ledger.redis.zrange(keys.SAMPLING, 0, -1)
    return [comparisons.get(ledger, id) for id in ids]


def dead(ledger: Ledger) -> list[dict[str, str]]:
    return [fields for _, fields in ledger.redis.xrange(keys.DEAD)]


def test_all_that_is_due_is_sampled_many_requests_at_a_time(
    ledger: Ledger, settings: WorkerSettings, ask: Ask, api: Any
) -> None:
    planned = plan(ledger, settings, ask, 40)
    api.delay_s = 0.05
    assert sample(ledger, settings) == 40
    assert comparisons.being_sampled(ledger) == 0
    assert comparisons.open_count(ledger) + comparisons.open_count(ledger, "agreement") == 40
    assert all(len(comparisons.get(ledger, each.id).completions) == 4 for each in planned)
    assert 4 < api.most_in_flight <= settings.sampling_in_flight


def test_a_run_begins_with_few_at_a_time(ledger: Ledger, settings: WorkerSettings, ask: Ask, api: Any) -> None:
    plan(ledger, settings, ask, 12)
    api.delay_s = 3.0  # longer than the run goes on
    short = settings.model_copy(update={"sampling_run_s": 0.5})
    assert sample(ledger, short) == 4
    assert api.most_in_flight == 4


def test_a_second_sampler_finds_no_place(ledger: Ledger, settings: WorkerSettings, ask: Ask, api: Any) -> None:
    plan(ledger, settings, ask, 1)
    assert places.take(ledger, 1, "another", 60) == 0
    assert sample(ledger, settings) == 0
    places.leave(ledger, 0, "another")
    assert sample(ledger, settings) == 1
    assert ledger.redis.get(keys.sampler(0)) is None


def test_what_somebody_else_samples_is_left_alone_until_the_claim_runs_out(
    ledger: Ledger, settings: WorkerSettings, ask: Ask, api: Any
) -> None:
    plan(ledger, settings, ask, 1)
    assert len(comparisons.claim(ledger, 5, hidden_s=0.5)) == 1
    assert sample(ledger, settings) == 0
    time.sleep(0.6)
    assert sample(ledger, settings) == 1


def test_the_heartbeat_keeps_a_slow_claim(ledger: Ledger, settings: WorkerSettings, ask: Ask, api: Any) -> None:
    plan(ledger, settings, ask, 1)
    api.delay_s = 2.0  # twice the claim
    assert sample(ledger, settings) == 1
    assert len(api.requests) == 1


def test_a_second_attempt_that_comes_late_changes_nothing(
    ledger: Ledger, settings: WorkerSettings, ask: Ask, api: Any
) -> None:
    [comparison] = plan(ledger, settings, ask, 1)
    sample(ledger, settings)
    first = comparisons.get(ledger, comparison.id)
    assert not comparisons.complete(ledger, comparison, list(reversed(first.completions)), token=1)
    assert comparisons.get(ledger, comparison.id) == first
    assert comparisons.open_count(ledger) == 1


def test_an_overloaded_api_costs_no_attempt_and_stops_the_run(
    ledger: Ledger, settings: WorkerSettings, ask: Ask, api: Any
) -> None:
    plan(ledger, settings, ask, 40)
    api.status = 503
    assert sample(ledger, settings) == 0
    assert len(api.requests) <= settings.sampling_in_flight
    assert set(ledger.redis.hvals(keys.SAMPLING_ATTEMPTS)) == {"0"}
    api.status = 200
    time.sleep(0.25)  # Retry-After
    assert sample(ledger, settings) == 40
    assert dead(ledger) == []


@pytest.mark.parametrize(
    ("purpose", "models", "attempts"),
    [("training", ["policy-0009"], "0"), ("evaluation", ["live", "policy-0009"], "1")],
)
def test_only_a_policy_that_is_to_be_compared_and_is_not_there_costs_an_attempt(
    ledger: Ledger, settings: WorkerSettings, api: Any, purpose: Any, models: list[str], attempts: str
) -> None:
    comparison = comparisons.plan(ledger, make_prompt(), 2, models=models, purpose=purpose)
    api.status = 404
    assert sample(ledger, settings) == 0
    assert ledger.redis.hget(keys.SAMPLING_ATTEMPTS, comparison.id) == attempts


def test_sft_is_the_newest_supervised_policy_that_was_ever_live(
    ledger: Ledger, settings: WorkerSettings, api: Any
) -> None:
    for version, kind in (("policy-0001", "sft"), ("policy-0002", "ppo"), ("policy-0003", "sft")):
        policies.register(ledger, make_policy(version, kind=kind))
    promotion.promote(ledger, "policy-0001", "olga")
    promotion.promote(ledger, "policy-0002", "olga")
    comparison = comparisons.plan(ledger, make_prompt(), 4, models=["live", "sft"])
    api.served = {"live": "policy-0002", "policy-0001": "policy-0001"}
    assert sample(ledger, settings) == 1
    versions = Counter(each.policy_version for each in comparisons.get(ledger, comparison.id).completions)
    assert versions == {"policy-0002": 2, "policy-0001": 2}


def test_two_policies_that_say_the_same_are_a_tie_that_nobody_is_asked_about(
    ledger: Ledger, settings: WorkerSettings, api: Any
) -> None:
    comparison = comparisons.plan(ledger, make_prompt(), 2, models=["policy-0001", "policy-0002"], purpose="evaluation")
    api.served = {"policy-0001": "policy-0001", "policy-0002": "policy-0002"}
    api.texts = ["The same."]
    assert sample(ledger, settings) == 1
    assert len(comparisons.get(ledger, comparison.id).completions) == 2
    assert comparisons.open_count(ledger, "evaluation") == comparisons.being_sampled(ledger) == 0


def test_a_prompt_that_always_gets_the_same_answer_is_buried_and_counted(
    ledger: Ledger, settings: WorkerSettings, ask: Ask, api: Any
) -> None:
    [comparison] = plan(ledger, settings, ask, 1)
    api.texts = ["Always this."]
    assert sample(ledger, settings) == 0
    assert dead(ledger) == [{"id": comparison.id, "reason": "all the same", "detail": "nothing to rank"}]
    assert comparisons.buried(ledger) == {"all the same": 1}


def test_work_on_a_claim_that_somebody_else_has_by_now_ends_and_changes_nothing(
    ledger: Ledger, settings: WorkerSettings, ask: Ask, api: Any
) -> None:
    [comparison] = plan(ledger, settings, ask, 1)
    api.delay_s = 3.0
    result: list[int] = []
    thread = threading.Thread(target=lambda: result.append(sample(ledger, settings)))
    began = time.monotonic()
    thread.start()
    while not api.in_flight:
        time.sleep(0.01)
    ledger.redis.zadd(keys.SAMPLING, {comparison.id: 0})  # it slept: its claim ran out
    [claim] = comparisons.claim(ledger, 1, 60)
    thread.join()
    assert result == [0]
    assert time.monotonic() - began < 2.0, "it noticed at its next heartbeat"
    assert comparisons.get(ledger, comparison.id).completions == []
    assert comparisons.complete(ledger, comparison, [make_completion(f"{n}.") for n in range(4)], token=claim.token)


def test_one_that_kills_its_sampler_each_time_is_sampled_alone_and_buried_while_the_others_are_done(
    ledger: Ledger, settings: WorkerSettings, ask: Ask, api: Any
) -> None:
    poison, *good = plan(ledger, settings, ask, 12)
    api.poison = poison.messages[0].content

    def run_in_a_process_that_may_die() -> None:
        process = multiprocessing.get_context("fork").Process(target=sample, args=(ledger, settings))
        process.start()
        while process.is_alive():
            if api.poisoned.is_set():
                process.kill()
                api.poisoned.clear()
            process.join(0.02)
        for id in ledger.redis.zrange(keys.SAMPLING, 0, -1):
            ledger.redis.zadd(keys.SAMPLING, {id: 0}, xx=True)  # claims have run out, delays are over
        ledger.redis.delete(keys.sampler(0))

    for _ in range(comparisons.MAX_ATTEMPTS + 12):
        run_in_a_process_that_may_die()
    assert comparisons.being_sampled(ledger) == 0
    assert dead(ledger) == [{"id": poison.id, "reason": "failed too often", "detail": "8 attempts"}]
    assert all(len(comparisons.get(ledger, each.id).completions) == 4 for each in good)


def test_a_refused_prompt_goes_to_the_dead_letters(
    ledger: Ledger, settings: WorkerSettings, ask: Ask, api: Any
) -> None:
    [comparison] = plan(ledger, settings, ask, 1)
    api.status = 400
    assert sample(ledger, settings) == 0
    assert comparisons.being_sampled(ledger) == 0
    assert [letter["id"] for letter in dead(ledger)] == [comparison.id]


def test_a_failing_api_backs_off_and_in_the_end_gives_up(
    ledger: Ledger, settings: WorkerSettings, ask: Ask, api: Any
) -> None:
    [comparison] = plan(ledger, settings, ask, 1)
    api.status = 500
    for _ in range(comparisons.MAX_ATTEMPTS + 1):
        assert sample(ledger, settings) == 0
        ledger.redis.zadd(keys.SAMPLING, {comparison.id: 0}, xx=True)  # the backoff is over
    assert len(api.requests) == comparisons.MAX_ATTEMPTS
    assert dead(ledger) == [{"id": comparison.id, "reason": "failed too often", "detail": "8 attempts"}]


def test_a_comparison_with_too_few_different_answers_is_made_smaller(
    ledger: Ledger, settings: WorkerSettings, ask: Ask, api: Any
) -> None:
    [comparison] = plan(ledger, settings, ask, 1)
    api.different_texts = 2
    assert sample(ledger, settings) == 1
    found = comparisons.get(ledger, comparison.id)
    assert found.k == len(found.completions) == 2


def test_a_dead_ledger_is_an_error_not_a_silence(settings: WorkerSettings) -> None:
    with pytest.raises(LedgerUnavailable):
        sample(Ledger("redis://127.0.0.1:1/0", timeout_s=0.2), settings)
