"""The benchmark of labels would see a lost, a changed and a doubled one."""

import random

from benchmarks.bench_labels import KILLS, SUBMISSIONS, bars, compare, give_keys, keys_of, moments, seed_items
from benchmarks.desk import Sent
from feedback import access, comparisons, leases
from feedback.client import Ledger
from feedback.records import Label
from tests.builders import make_comparison, make_label


def seen(count: int) -> tuple[list[Sent], list[Label]]:
    """Return what labelers saw acknowledged, and the same as it would be stored."""
    made = [make_label(make_comparison(), labeler=f"labeler-{number % 8}") for number in range(count)]
    sent = [
        Sent(
            id=each.id,
            item=each.comparison_id,
            labeler=each.labeler,
            ranking=each.ranking,
            took_s=0.01,
            tries=1,
            repeated=False,
        )
        for each in made
    ]
    return sent, made


def test_what_all_arrived_once_and_unchanged_is_clean() -> None:
    sent, made = seen(5)
    assert compare(sent, made) == {"lost": 0, "different": 0, "duplicated": 0}


def test_what_is_missing_counts_as_lost() -> None:
    sent, made = seen(5)
    assert compare(sent, made[:3])["lost"] == 2


def test_what_is_not_as_it_was_sent_counts_as_different() -> None:
    sent, made = seen(3)
    other = make_label(make_comparison(), id=made[0].id, ranking=[[3], [2], [1], [0]])
    assert compare(sent, [other, *made[1:]])["different"] == 1


def test_the_same_id_twice_and_the_same_item_twice_count_as_duplicated() -> None:
    sent, made = seen(3)
    assert compare(sent, [*made, made[0]])["duplicated"] == 2, "the id, and the answer of this labeler to this item"
    again = make_label(make_comparison(id=made[0].comparison_id), labeler=made[0].labeler)
    assert compare(sent, [*made, again])["duplicated"] == 1


def test_moments_are_random_ascending_and_leave_something_to_follow() -> None:
    found = moments(random.Random(1), SUBMISSIONS, KILLS)
    assert found == sorted(set(found))
    assert len(found) == KILLS
    assert found[-1] < SUBMISSIONS - 20
    assert found != moments(random.Random(2), SUBMISSIONS, KILLS)


def test_a_control_that_loses_nothing_fails() -> None:
    kept = {"acknowledged": SUBMISSIONS, "kills": KILLS, "lost": 0, "duplicated": 0, "different": 0, "refused": {}}
    kept |= {"copy": {"lost": 0, "duplicated": 0}, "front_restarts": 0}
    assert all(bar.passed for bar in bars({"kept": kept, "control": {"lost": 1}}))
    assert [bar.name for bar in bars({"kept": kept, "control": {"lost": 0}}) if not bar.passed] == ["control_lost"]
    worse = {**kept, "lost": 1, "refused": {"submit 404": 1}}
    failed = [bar.name for bar in bars({"kept": worse, "control": {"lost": 1}}) if not bar.passed]
    assert failed == ["lost", "submissions_refused"]


def test_items_are_ready_to_be_leased_and_keys_can_be_put_back(ledger: Ledger) -> None:
    access.create(ledger, "labeler", "lee")
    known = keys_of(ledger)
    ledger.redis.flushall()
    give_keys(ledger, known)
    assert keys_of(ledger) == known
    seed_items(ledger, 3)
    lease = leases.lease(ledger, "training", "lee")
    assert lease is not None
    assert comparisons.get(ledger, lease.item_id).k == 4
    assert leases.waiting(ledger, "training") == 2
