"""Comparisons: planned once, sampled by one at a time, opened whole or not at all."""

import threading
from collections import Counter

import pytest

from feedback import comparisons, keys, leases
from feedback.client import Ledger
from feedback.errors import Conflict, NotFound
from feedback.records import Completion
from tests.builders import lease_next, make_completion, make_prompt, open_comparison


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


def test_a_claimed_comparison_is_hidden_until_its_time_is_over(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4)
    assert comparisons.claim(ledger, 10, hidden_s=60) == [(planned.id, 1)]
    assert comparisons.claim(ledger, 10, hidden_s=60) == []
    assert comparisons.due(ledger) == 0
    assert comparisons.being_sampled(ledger) == 1


def test_a_sampler_that_died_loses_its_claim(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4)
    comparisons.claim(ledger, 1, hidden_s=-1)
    assert comparisons.claim(ledger, 1, hidden_s=60) == [(planned.id, 2)]


def test_a_heartbeat_keeps_a_claim_and_revives_no_finished_one(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4)
    comparisons.claim(ledger, 1, hidden_s=-1)
    comparisons.keep_claims(ledger, [planned.id], hidden_s=60)
    assert comparisons.claim(ledger, 1, hidden_s=60) == []
    comparisons.complete(ledger, planned, completions(4))
    comparisons.keep_claims(ledger, [planned.id], hidden_s=-1)
    assert comparisons.being_sampled(ledger) == 0


def test_twenty_samplers_never_hold_the_same_comparison(ledger: Ledger) -> None:
    planned = {comparisons.plan(ledger, make_prompt(), 4).id for _ in range(60)}
    held: list[str] = []

    def work() -> None:
        while claimed := comparisons.claim(ledger, 3, hidden_s=60):
            held.extend(id for id, _ in claimed)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(held) == dict.fromkeys(planned, 1)


def test_a_postponed_comparison_is_due_later_and_counts_its_attempt_if_it_was_at_fault(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4)
    comparisons.claim(ledger, 1, hidden_s=60)
    assert comparisons.postpone(ledger, planned.id, -1, counts=False)
    assert comparisons.claim(ledger, 1, hidden_s=60) == [(planned.id, 1)]
    assert comparisons.postpone(ledger, planned.id, -1, counts=True)
    assert comparisons.claim(ledger, 1, hidden_s=60) == [(planned.id, 2)]
    assert comparisons.postpone(ledger, planned.id, 60, counts=True)
    assert comparisons.claim(ledger, 1, hidden_s=60) == []


def test_a_finished_comparison_cannot_be_postponed(ledger: Ledger) -> None:
    finished = open_comparison(ledger)
    assert not comparisons.postpone(ledger, finished.id, 0, counts=True)
    assert comparisons.being_sampled(ledger) == 0


def test_a_buried_comparison_is_a_dead_letter_with_its_reason_and_nothing_else(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt(), 4)
    comparisons.claim(ledger, 1, hidden_s=-1)
    comparisons.bury(ledger, planned.id, "prompt too long")
    assert comparisons.being_sampled(ledger) == 0
    assert ledger.redis.exists(keys.SAMPLING_ATTEMPTS) == 0
    assert [fields for _, fields in ledger.redis.xrange(keys.DEAD) or []] == [
        {"id": planned.id, "reason": "prompt too long"}
    ]
    assert not comparisons.complete(ledger, planned, completions(4))


def test_several_are_read_in_the_order_asked_for_with_gaps_for_the_unknown(ledger: Ledger) -> None:
    one, two = open_comparison(ledger), open_comparison(ledger)
    assert comparisons.get_many(ledger, [two.id, "cmp_none", one.id]) == [two, None, one]
    assert comparisons.get_many(ledger, []) == []


def test_an_unknown_comparison_is_not_found_by_name(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="cmp_none"):
        comparisons.get(ledger, "cmp_none")


def test_only_so_many_samplers_run_at_once(ledger: Ledger) -> None:
    assert [comparisons.take_place(ledger, 2, token, 60) for token in ("a", "b", "c")] == [0, 1, None]
    assert comparisons.keep_place(ledger, 0, "a", 60)
    assert not comparisons.keep_place(ledger, 0, "b", 60)
    comparisons.leave_place(ledger, 0, "b")
    assert comparisons.take_place(ledger, 2, "c", 60) is None
    comparisons.leave_place(ledger, 0, "a")
    assert comparisons.take_place(ledger, 2, "c", 60) == 0
