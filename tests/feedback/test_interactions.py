"""The log: stored once, read once by curators, trimmed only behind them."""

import threading
import time

import pytest

from feedback import interactions, keys
from feedback.client import Ledger
from feedback.errors import InvalidRecord, NotFound
from feedback.records import Rating
from tests.builders import make_interaction, make_messages, make_rating


def test_an_interaction_can_be_read_back_by_its_id(ledger: Ledger) -> None:
    made = make_interaction("🦊 \x00 \u202e")
    assert interactions.append(ledger, made)
    assert interactions.get(ledger, made.id) == made


def test_an_unknown_interaction_is_not_found_by_name(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="int_none"):
        interactions.get(ledger, "int_none")


def test_a_relay_that_repeats_itself_logs_once(ledger: Ledger) -> None:
    made = make_interaction()
    assert [interactions.append(ledger, made) for _ in range(3)] == [True, False, False]
    assert interactions.count(ledger) == 1
    assert [record for _, record in interactions.read(ledger)] == [made]


def test_of_twenty_relays_with_the_same_interaction_one_logs_it(ledger: Ledger) -> None:
    made = make_interaction()
    stored: list[bool] = []
    threads = [threading.Thread(target=lambda: stored.append(interactions.append(ledger, made))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(stored) == [False] * 19 + [True]
    assert interactions.count(ledger) == 1


def test_an_interaction_that_could_not_be_read_back_is_refused_and_the_log_stays_readable(ledger: Ledger) -> None:
    interactions.append(ledger, make_interaction())
    with pytest.raises(InvalidRecord, match="Interaction"):
        interactions.append(ledger, make_interaction(messages=make_messages("half \ud83e")))
    assert len(list(interactions.read(ledger))) == 1


def test_a_logged_interaction_is_kept_for_a_month(ledger: Ledger) -> None:
    made = make_interaction()
    interactions.append(ledger, made)
    assert keys.MONTH_S - 60 < ledger.redis.ttl(keys.interaction(made.id)) <= keys.MONTH_S


def test_nothing_logged_counts_as_none(ledger: Ledger) -> None:
    assert interactions.count(ledger) == 0
    assert list(interactions.read(ledger)) == []
    assert list(interactions.read_new(ledger, "one")) == []


def test_two_curators_share_the_log_without_overlap(ledger: Ledger) -> None:
    made = [make_interaction(str(number)) for number in range(6)]
    for each in made:
        interactions.append(ledger, each)
    first = [record for _, record in interactions.read_new(ledger, "one", most=3)]
    second = [record for _, record in interactions.read_new(ledger, "two")]
    assert first == made[:3]
    assert second == made[3:]


def test_what_a_curator_did_not_finish_comes_again_to_it_and_what_it_finished_does_not(ledger: Ledger) -> None:
    made = [make_interaction(str(number)) for number in range(3)]
    for each in made:
        interactions.append(ledger, each)
    read = list(interactions.read_new(ledger, "one"))
    interactions.done(ledger, [read[0][0]])
    again = [record for _, record in interactions.read_new(ledger, "one")]
    assert again == made[1:]


def test_what_a_dead_curator_left_is_taken_over_after_its_time(ledger: Ledger) -> None:
    interactions.append(ledger, make_interaction())
    assert len(list(interactions.read_new(ledger, "dead"))) == 1
    assert interactions.reclaim(ledger, "heir", idle_s=60) == 0
    assert list(interactions.read_new(ledger, "heir")) == []
    assert interactions.reclaim(ledger, "heir", idle_s=0) == 1
    assert len(list(interactions.read_new(ledger, "heir"))) == 1


def test_marking_nothing_as_done_is_harmless(ledger: Ledger) -> None:
    interactions.done(ledger, [])


def test_trimming_keeps_what_is_not_archived_or_not_curated(ledger: Ledger) -> None:
    for number in range(10):
        interactions.append(ledger, make_interaction(str(number)))
    entries = [entry for entry, _ in interactions.read(ledger)]
    assert interactions.trim(ledger, entries[-1], most=2) == 0, "nobody curated anything yet"
    read = [entry for entry, _ in interactions.read_new(ledger, "one")]
    interactions.done(ledger, read[:5])
    interactions.trim(ledger, entries[-1], most=2)
    assert next(entry for entry, _ in interactions.read(ledger)) == entries[5], "the sixth waits for its curator"
    interactions.done(ledger, read[5:])
    interactions.trim(ledger, entries[6], most=2)
    assert next(entry for entry, _ in interactions.read(ledger)) == entries[7], "the seventh is archived last"
    assert interactions.count(ledger) == 10, "the count is of all that were ever logged"


def test_a_short_log_is_not_trimmed(ledger: Ledger) -> None:
    interactions.append(ledger, make_interaction())
    entries = [entry for entry, _ in interactions.read(ledger)]
    assert interactions.trim(ledger, entries[-1], most=100) == 0


def test_what_is_old_is_trimmed_from_a_short_log_once_it_is_archived_and_curated(ledger: Ledger) -> None:
    for number in range(3):
        interactions.append(ledger, make_interaction(str(number)))
    entries = [entry for entry, _ in interactions.read(ledger)]
    later = time.time() + 100
    assert interactions.trim(ledger, entries[-1], most=100, keep_s=50, now=lambda: later) == 0, "not curated"
    interactions.done(ledger, [entry for entry, _ in interactions.read_new(ledger, "one")])
    assert interactions.trim(ledger, entries[-1], most=100, keep_s=500, now=lambda: later) == 0, "not old"
    assert interactions.trim(ledger, entries[1], most=100, keep_s=50, now=lambda: later) == 2
    assert [entry for entry, _ in interactions.read(ledger)] == entries[2:]


def test_an_entry_that_was_deleted_under_a_curators_hands_is_passed_over(ledger: Ledger) -> None:
    made = [make_interaction(str(number)) for number in range(3)]
    for each in made:
        interactions.append(ledger, each)
    read = list(interactions.read_new(ledger, "one"))
    ledger.redis.xdel(keys.INTERACTIONS, read[1][0])
    assert [each for _, each in interactions.read_new(ledger, "one")] == [made[0], made[2]]
    interactions.done(ledger, [read[0][0], read[2][0]])
    assert interactions.uncurated(ledger) == 0


def test_a_rating_is_taken_once(ledger: Ledger) -> None:
    made = make_rating()
    assert [interactions.rate(ledger, made) for _ in range(3)] == [True, False, False]
    assert [record for _, record in ledger.stream(keys.RATINGS, Rating)] == [made]
