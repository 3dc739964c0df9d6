"""Checks: nobody is asked what they know, nothing tells a copy apart, and what is erased is not copied."""

import random

import pytest

from feedback import checks, comparisons, gold, keys, leases
from feedback.checks import Past
from feedback.client import Ledger
from feedback.ids import made_at_s, new_id
from feedback.records import GoldCheck, QueueConfig
from tests.builders import NOON, open_comparison


def known(ledger: Ledger, count: int = 1, **changes: object) -> list[GoldCheck]:
    """Add checks of comparisons that were answered and wait no more."""
    found = []
    for _ in range(count):
        comparison = open_comparison(ledger, **changes)
        check = GoldCheck(comparison_id=comparison.id, created_at=NOON, pairs=[(0, 1)], source="operator")
        gold.add(ledger, check)
        found.append(check)
    return found


def nothing() -> Past:
    return Past(own=[], checked=[], languages={"en"})


def listed(ledger: Ledger, labeler: str = "lee") -> list[str]:
    return list(ledger.redis.lrange(keys.checks(labeler), 0, -1))


def test_a_check_is_leased_like_any_item(ledger: Ledger) -> None:
    original = known(ledger)[0].comparison_id
    assert checks.prepare(ledger, "lee", nothing(), gold.all_checks(ledger), (5, 0)) == 1
    lease = leases.lease(ledger, "training", "lee", check=True)
    assert lease is not None
    copy = comparisons.get(ledger, lease.item_id)
    assert (copy.purpose, copy.check_of, copy.overlap) == ("gold", original, 1)
    assert copy.completions == comparisons.get(ledger, original).completions
    assert listed(ledger) == []


def test_the_id_of_a_copy_is_as_old_as_those_that_wait(ledger: Ledger) -> None:
    waiting = [open_comparison(ledger).id for _ in range(5)]
    ages = [made_at_s(id) or 0 for id in waiting]
    for _ in range(20):
        made = made_at_s(checks.like(random.choice(waiting), random.Random()))
        assert made is not None
        assert min(ages) - 1.1 <= made <= max(ages)
    assert len(checks.like(waiting[0], random.Random())) == len(waiting[0])


def test_a_made_up_id_is_a_uuid_of_version_7() -> None:
    from uuid import UUID

    found = UUID(checks.like(new_id("cmp"), random.Random()).removeprefix("cmp_"))
    assert (found.version, found.variant) == (7, "specified in RFC 4122")


def test_nobody_is_checked_with_what_they_saw(ledger: Ledger) -> None:
    check = known(ledger)[0]
    ledger.redis.sadd(keys.seen("lee"), check.comparison_id)
    assert checks.prepare(ledger, "lee", nothing(), [check], (5, 0)) == 0
    assert checks.prepare(ledger, "kim", nothing(), [check], (5, 0)) == 1


def test_a_comparison_waits_once_and_comes_again_much_later() -> None:
    found = [GoldCheck(comparison_id=name, created_at=NOON, pairs=[(0, 1)], source="operator") for name in ("a", "b")]
    ever = {"a", "b"}
    assert checks.gold_options(found, nothing(), ever, {"a"}) == ["b"]
    lately = Past(own=["x"] * 3, checked=["", "a", ""], languages=[])
    assert checks.gold_options(found, lately, ever, ()) == ["b"]
    long_ago = Past(own=[], checked=["a", *[""] * checks.APART], languages=[])
    assert checks.gold_options(found, long_ago, ever, ()) == ["a", "b"]


def test_practice_items_check_nobody() -> None:
    found = GoldCheck(comparison_id="a", created_at=NOON, pairs=[(0, 1)], source="operator", practice=True)
    assert checks.gold_options([found], nothing(), {"a"}, ()) == []


def test_own_items_are_repeated_once_and_not_at_once() -> None:
    own = [f"cmp_{number}" for number in range(checks.REPEAT_AFTER + 3)]
    assert checks.repeat_options(Past(own, ["cmp_1"], []), {"cmp_2"}) == ["cmp_0"]
    assert checks.repeat_options(Past(own[:10], [], []), ()) == []


def test_repeats_are_prepared_from_own_items(ledger: Ledger) -> None:
    own = [open_comparison(ledger).id for _ in range(3)]
    past = Past([*own, *[f"cmp_{number}" for number in range(checks.REPEAT_AFTER)]], [], {"en"})
    assert checks.prepare(ledger, "lee", past, [], (0, 2)) == checks.WAITING
    copies = [comparisons.get(ledger, id) for id in listed(ledger)]
    assert sorted(copy.check_of for copy in copies) == sorted(own)
    assert {copy.purpose for copy in copies} == {"repeat"}


def test_no_more_than_a_few_wait(ledger: Ledger) -> None:
    found, draw = known(ledger, 6), random.Random(0)
    for _ in range(9):  # two draws in seven ask for a repetition, and there is nothing to repeat
        checks.prepare(ledger, "lee", nothing(), found, (5, 2), draw)
    assert len(listed(ledger)) == checks.WAITING
    assert len({comparisons.get(ledger, id).check_of for id in listed(ledger)}) == checks.WAITING


def test_what_is_erased_or_foreign_or_their_own_is_not_copied(ledger: Ledger) -> None:
    erased, foreign, written = known(ledger, 3)
    ledger.redis.delete(keys.comparison(erased.comparison_id))
    for check, change in ((foreign, '"language":"de"'), (written, '"authors":["lee"]')):
        key = keys.comparison(check.comparison_id)
        field = change.split(":")[0]
        text = ledger.redis.get(key)
        ledger.redis.set(key, _with(text, field, change))
    assert checks.prepare(ledger, "lee", nothing(), [erased, foreign, written], (5, 0)) == 0


def _with(text: str, field: str, change: str) -> str:
    import json

    record = json.loads(text)
    record[field.strip('"')] = json.loads(change.partition(":")[2])
    return json.dumps(record)


def test_kinds_are_drawn_in_the_proportion_asked_for() -> None:
    rng = random.Random(0)
    drawn = [checks.draw_kind((6, 2), rng) for _ in range(2000)]
    assert drawn.count("gold") / 2000 == pytest.approx(0.75, abs=0.03)
    assert checks.draw_kind((0, 0), rng) is None
    configs = {"a": QueueConfig(name="a", gold_percent=5), "b": QueueConfig(name="b", repeat_percent=2)}
    assert checks.shares(configs) == (5, 2)
    assert checks.shares({}) == (0, 0)
