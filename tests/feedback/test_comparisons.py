"""Comparisons: planned once, sampled by one at a time, opened whole or not at all."""

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from feedback import comparisons, erasure, keys, leases
from feedback.client import Ledger
from feedback.comparisons import Claim
from feedback.errors import Conflict, NotFound
from feedback.records import Completion
from tests.builders import lease_next, make_comparison, make_completion, make_prompt, open_comparison


def completions(k: int, text: str = "Fruit") -> list[Completion]:
    return [make_completion(f"{text} {index}.") for index in range(k)]


def test_a_planned_comparison_waits_for_completions_and_not_for_labelers(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4, overlap=2, models=["live", "previous"])
    assert comparisons.get(ledger, planned.id) == planned
    assert (planned.k, planned.overlap, planned.models) == (4, 2, ["live", "previous"])
    assert comparisons.being_sampled(ledger) == comparisons.due(ledger) == 1
    assert comparisons.open_count(ledger) == 0
    assert leases.lease(ledger, "training", "lee") is None


def test_planning_the_same_id_again_changes_nothing(ledger: Ledger) -> None:
    first = comparisons.plan(ledger, make_prompt("First?"), 4, id="cmp_1")
    comparisons.plan(ledger, make_prompt("Second?"), 5, id="cmp_1")
    assert comparisons.get(ledger, "cmp_1") == first
    assert comparisons.being_sampled(ledger) == 1


def test_planning_again_what_is_complete_does_not_open_it_again(ledger: Ledger) -> None:
    comparison = open_comparison(ledger, id="cmp_1")
    comparisons.plan(ledger, make_prompt(), 4, id="cmp_1")
    assert comparisons.get(ledger, "cmp_1") == comparison
    assert comparisons.being_sampled(ledger) == 0


def test_a_complete_comparison_waits_in_the_queue_of_its_purpose(ledger: Ledger) -> None:
    opened = open_comparison(ledger, purpose="evaluation")
    assert comparisons.open_count(ledger, "evaluation") == 1
    assert comparisons.open_count(ledger, "training") == 0
    assert lease_next(ledger, queue="evaluation").item_id == opened.id
    assert comparisons.being_sampled(ledger) == 0


def test_of_twenty_samplers_that_finish_at_once_one_fills_the_comparison(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4)
    done: list[tuple[bool, str]] = []

    def work(number: int) -> None:
        done.append((comparisons.complete(ledger, planned, completions(4, f"By {number}")), f"By {number}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [name for won, name in done if won]
    assert len(winners) == 1
    assert comparisons.get(ledger, planned.id).completions == completions(4, winners[0])
    assert comparisons.open_count(ledger) == 1


@pytest.mark.parametrize("count", [0, 3, 5])
def test_a_comparison_opens_with_exactly_k_completions(ledger: Ledger, count: int) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4)
    with pytest.raises(Conflict, match=f"wants 4 completions, got {count}"):
        comparisons.complete(ledger, planned, completions(count))
    assert comparisons.open_count(ledger) == 0


def test_a_comparison_takes_along_what_the_prompt_says_of_itself(ledger: Ledger) -> None:
    prompt = make_prompt(key_id="key_7", language="de", use_case="rewrite", source="labeler", author="ann")
    planned = comparisons.plan(ledger, prompt, 5, queue="german")
    assert (planned.queue, planned.key_id, planned.language) == ("german", "key_7", "de")
    assert (planned.use_case, planned.authors) == ("rewrite", ["ann"])
    assert comparisons.complete(ledger, planned, completions(5))
    assert leases.waiting(ledger, "german") == 1
    assert ledger.redis.hmget(keys.item(planned.id), "queue", "slots", "authors") == ["german", "1", "ann"]


def test_what_needs_no_ranking_is_stored_and_asked_of_nobody(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 2, purpose="evaluation")
    assert comparisons.complete(ledger, planned, completions(2), shown=False)
    assert len(comparisons.get(ledger, planned.id).completions) == 2
    assert comparisons.being_sampled(ledger) == comparisons.open_count(ledger, "evaluation") == 0
    assert ledger.redis.exists(keys.item(planned.id)) == 0


def test_a_comparison_that_is_added_is_in_no_queue_and_overwrites_none(ledger: Ledger) -> None:
    made = make_comparison(purpose="repeat", check_of="cmp_1")
    assert comparisons.add(ledger, made)
    assert not comparisons.add(ledger, make_comparison(id=made.id, k=5))
    assert comparisons.get(ledger, made.id) == made
    assert comparisons.being_sampled(ledger) == comparisons.open_count(ledger, "repeat") == 0


def claim_one(ledger: Ledger, hidden_s: float = 60) -> Claim:
    [claim] = comparisons.claim(ledger, 1, hidden_s)
    return claim


def test_a_claimed_comparison_is_hidden_until_its_time_is_over(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4)
    assert comparisons.claim(ledger, 10, hidden_s=60) == [Claim(planned.id, 1, 1, False)]
    assert comparisons.claim(ledger, 10, hidden_s=60) == []
    assert comparisons.due(ledger) == 0
    assert comparisons.being_sampled(ledger) == 1


def test_one_with_priority_is_claimed_before_those_that_wait_longer(ledger: Ledger) -> None:
    comparisons.plan(ledger, make_prompt(), 4)
    urgent = comparisons.plan(ledger, make_prompt(), 4, priority=True)
    assert claim_one(ledger).id == urgent.id


def test_a_sampler_that_died_loses_its_claim_and_tokens_only_grow(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4)
    first = claim_one(ledger, hidden_s=-1)
    second = claim_one(ledger, hidden_s=60)
    assert (second.id, second.attempt, second.abandoned) == (planned.id, 2, True)
    assert comparisons.postpone(ledger, planned.id, -1, token=second.token, counts=False)
    third = claim_one(ledger)
    assert (third.attempt, third.abandoned) == (2, False)
    assert first.token < second.token < third.token


def test_a_sampler_that_wakes_up_late_changes_nothing(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4)
    stale = claim_one(ledger, hidden_s=-1)
    fresh = claim_one(ledger, hidden_s=-1)
    assert comparisons.keep_claims(ledger, {planned.id: stale.token}, 60) == {planned.id}
    assert comparisons.due(ledger) == 1, "an old heartbeat hides nothing"
    assert not comparisons.postpone(ledger, planned.id, 60, token=stale.token, counts=False)
    assert not comparisons.bury(ledger, planned.id, "same", token=stale.token)
    assert not comparisons.complete(ledger, planned, completions(4, "Old"), token=stale.token)
    assert not comparisons.complete(ledger, planned, completions(4, "Old")), "nor does one without any token"
    assert comparisons.buried(ledger) == {}
    assert comparisons.keep_claims(ledger, {planned.id: fresh.token}, 60) == set()
    assert comparisons.complete(ledger, planned, completions(4, "New"), token=fresh.token)
    assert comparisons.get(ledger, planned.id).completions == completions(4, "New")
    assert ledger.redis.exists(keys.SAMPLING_CLAIMS, keys.SAMPLING_ATTEMPTS) == 0


def test_a_claim_that_was_given_back_is_worth_nothing_more(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4)
    token = claim_one(ledger).token
    assert comparisons.postpone(ledger, planned.id, 60, token=token, counts=True)
    assert not comparisons.complete(ledger, planned, completions(4), token=token)
    assert not comparisons.postpone(ledger, planned.id, 0, token=token, counts=True)


def test_a_heartbeat_keeps_a_claim_and_revives_no_finished_one(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4)
    token = claim_one(ledger, hidden_s=-1).token
    assert comparisons.keep_claims(ledger, {planned.id: token}, hidden_s=60) == set()
    assert comparisons.claim(ledger, 1, hidden_s=60) == []
    assert comparisons.complete(ledger, planned, completions(4), token=token)
    assert comparisons.keep_claims(ledger, {planned.id: token}, hidden_s=-1) == {planned.id}
    assert comparisons.being_sampled(ledger) == 0


def test_a_wrong_clock_of_a_process_neither_hides_nor_steals(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    real_s = time.time()
    for wrong_by_s in (-3600.0, 3600.0):
        monkeypatch.setattr(time, "time", lambda wrong_by_s=wrong_by_s: real_s + wrong_by_s)
        planned = comparisons.plan(ledger, make_prompt(), 4)
        assert comparisons.due(ledger) == 1
        claim = claim_one(ledger)
        assert claim.id == planned.id
        assert comparisons.keep_claims(ledger, {claim.id: claim.token}, 60) == set()
        assert comparisons.claim(ledger, 1, 60) == []


def test_an_erased_comparison_is_in_no_samplers_hands_any_more(ledger: Ledger, tmp_path: Path) -> None:
    planned = comparisons.plan(ledger, make_prompt(customer="acme"), 4)
    token = claim_one(ledger).token
    erasure.erase(ledger, tmp_path, "acme", "olga")
    assert ledger.redis.exists(keys.SAMPLING, keys.SAMPLING_ATTEMPTS, keys.SAMPLING_CLAIMS) == 0
    assert not comparisons.complete(ledger, planned, completions(4), token=token)
    assert comparisons.keep_claims(ledger, {planned.id: token}, 60) == {planned.id}


def test_twenty_samplers_never_hold_the_same_comparison(ledger: Ledger) -> None:
    planned = {comparisons.plan(ledger, make_prompt(), 4).id for _ in range(60)}
    held: list[Claim] = []

    def work() -> None:
        while claimed := comparisons.claim(ledger, 3, hidden_s=60):
            held.extend(claimed)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(claim.id for claim in held) == dict.fromkeys(planned, 1)
    assert len({claim.token for claim in held}) == 60


def test_a_postponed_comparison_is_due_later_and_counts_its_attempt_if_it_was_at_fault(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4)
    assert comparisons.postpone(ledger, planned.id, -1, token=claim_one(ledger).token, counts=False)
    again = claim_one(ledger)
    assert again.attempt == 1
    assert comparisons.postpone(ledger, planned.id, -1, token=again.token, counts=True)
    third = claim_one(ledger)
    assert third.attempt == 2
    assert comparisons.postpone(ledger, planned.id, 60, token=third.token, counts=True)
    assert comparisons.claim(ledger, 1, hidden_s=60) == []


def test_a_finished_comparison_cannot_be_postponed(ledger: Ledger) -> None:
    finished = open_comparison(ledger)
    assert not comparisons.postpone(ledger, finished.id, 0, token=0, counts=True)
    assert comparisons.being_sampled(ledger) == 0


def test_a_buried_comparison_is_a_dead_letter_with_its_reason_and_nothing_else(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4)
    token = claim_one(ledger, hidden_s=-1).token
    assert comparisons.bury(ledger, planned.id, "prompt refused", "too long", token=token)
    assert not comparisons.bury(ledger, planned.id, "prompt refused", "too long", token=token)
    assert comparisons.being_sampled(ledger) == 0
    assert ledger.redis.exists(keys.SAMPLING_ATTEMPTS, keys.SAMPLING_CLAIMS) == 0
    assert [fields for _, fields in ledger.redis.xrange(keys.DEAD) or []] == [
        {"id": planned.id, "reason": "prompt refused", "detail": "too long"}
    ]
    assert comparisons.buried(ledger) == {"prompt refused": 1}
    assert not comparisons.complete(ledger, planned, completions(4), token=token)


def test_several_are_read_in_the_order_asked_for_with_gaps_for_the_unknown(ledger: Ledger) -> None:
    one, two = open_comparison(ledger), open_comparison(ledger)
    assert comparisons.get_many(ledger, [two.id, "cmp_none", one.id]) == [two, None, one]
    assert comparisons.get_many(ledger, []) == []


def test_an_unknown_comparison_is_not_found_by_name(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="cmp_none"):
        comparisons.get(ledger, "cmp_none")


def test_fresh_ones_are_read_newest_first(ledger: Ledger) -> None:
    first, second, third = (open_comparison(ledger) for _ in range(3))
    assert comparisons.newest_fresh(ledger, "training", 2) == [third, second]
    lease_next(ledger, "ann")
    assert comparisons.newest_fresh(ledger, "training", 5) == [third, second], "the first is in somebody's hands"
    assert comparisons.newest_fresh(ledger, "training", 0) == comparisons.newest_fresh(ledger, "agreement", 5) == []
    assert first.created_at <= second.created_at
