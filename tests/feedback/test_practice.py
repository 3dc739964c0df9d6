"""Practice: ten built-in items that a ranking can satisfy, a pass mark, and nothing that becomes a label."""

import pytest

from feedback import comparisons, gold, keys, labelers, practice
from feedback.client import Ledger
from feedback.errors import InvalidRecord, NotFound
from feedback.practice import Item
from feedback.records import GoldCheck, utc_now
from tests.builders import make_completion, make_prompt


def best(item: Item) -> list[list[int]]:
    """Return a full ranking that satisfies the item's pairs."""
    left, ranking = set(range(len(item.completions))), []
    while left:
        first = min(i for i in left if not any(worse == i and better in left for better, worse in item.pairs))
        ranking.append([first])
        left.remove(first)
    return ranking


def test_ten_items_are_built_in_and_each_can_be_answered_rightly() -> None:
    every = practice.built_in()
    assert [item.id for item in every] == [str(number) for number in range(1, 11)]
    assert {len(item.completions) for item in every} == {3, 4}
    for item in every:
        check = GoldCheck(comparison_id=item.id, created_at=utc_now(), pairs=item.pairs, source="operator")
        gold.validate(check, len(item.completions))
        assert gold.violated(check, best(item)) == []
        assert len(item.explanation) > 80
    # the best answer is not always in the same place
    assert len({best(item)[0][0] for item in every}) > 1


def run(ledger: Ledger, right: int, labeler: str = "lee") -> practice.Progress:
    """Answer all items, the first ``right`` of them rightly."""
    for number, item in enumerate(practice.items(ledger)):
        ranking = best(item) if number < right else best(item)[::-1]
        _, wrong, state = practice.answer(ledger, labeler, item.id, ranking, "ranked", 70)
        assert bool(wrong) == (number >= right)
    return state


@pytest.mark.redis
@pytest.mark.parametrize(("right", "passed"), [(10, True), (7, True), (6, False), (0, False)])
def test_who_has_enough_right_has_passed(ledger: Ledger, right: int, passed: bool) -> None:
    state = run(ledger, right)
    assert (state.answered, state.right, state.of, state.passed) == (10, right, 10, passed)
    assert labelers.standing(ledger, "lee").practice_passed is passed
    assert not labelers.standing(ledger, "kim").practice_passed
    assert ledger.redis.xlen(keys.LABELS) == 0


@pytest.mark.redis
def test_items_come_in_turn_and_the_first_answer_counts(ledger: Ledger) -> None:
    state, item = practice.progress(ledger, "lee", 70)
    assert item is not None
    assert (state.answered, item.id) == (0, "1")
    practice.answer(ledger, "lee", "1", best(item)[::-1], "ranked", 70)
    _, wrong, state = practice.answer(ledger, "lee", "1", best(item), "ranked", 70)
    assert (wrong, state.answered, state.right) == ([], 1, 0)
    assert practice.progress(ledger, "lee", 70)[1].id == "2"  # type: ignore[union-attr]


@pytest.mark.redis
def test_who_failed_may_start_over_and_who_passed_stays_passed(ledger: Ledger) -> None:
    assert not run(ledger, 3).passed
    practice.start_over(ledger, "lee")
    assert practice.progress(ledger, "lee", 70)[0].answered == 0
    assert run(ledger, 8).passed
    practice.start_over(ledger, "lee")
    assert practice.progress(ledger, "lee", 70)[0].passed


@pytest.mark.redis
def test_neither_a_tie_nor_an_item_left_out_nor_all_good_orders_a_pair(ledger: Ledger) -> None:
    item = practice.built_in()[0]
    for ranking, outcome in (([[0, 1, 2]], "ranked"), ([[1]], "ranked"), ([[0, 1, 2]], "all_good")):
        _, wrong, _ = practice.answer(ledger, "lee", "1", ranking, outcome, 70)  # type: ignore[arg-type]
        assert set(wrong) == set(item.pairs)


@pytest.mark.redis
def test_operators_add_items(ledger: Ledger) -> None:
    planned = comparisons.plan(ledger, make_prompt("Name a fruit."), 2)
    comparisons.complete(ledger, planned, [make_completion("A stone."), make_completion("An apple.")])
    check = GoldCheck(
        comparison_id=planned.id, created_at=utc_now(), pairs=[(1, 0)], source="operator", explanation="No stones."
    )
    gold.add(ledger, check)
    assert len(practice.items(ledger)) == 10, "a hidden check is no practice item"
    gold.add(ledger, GoldCheck(**{name: getattr(check, name) for name in check.__struct_fields__} | {"practice": True}))
    added = practice.items(ledger)[-1]
    assert (added.id, added.completions, added.explanation) == (planned.id, ["A stone.", "An apple."], "No stones.")
    assert practice.answer(ledger, "lee", planned.id, [[0], [1]], "ranked", 70)[1] == [(1, 0)]


@pytest.mark.redis
def test_what_is_no_item_or_no_ranking_is_refused(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        practice.answer(ledger, "lee", "11", [[0]], "ranked", 70)
    for ranking in ([[0], [0]], [[0], [7]]):
        with pytest.raises(InvalidRecord):
            practice.answer(ledger, "lee", "1", ranking, "ranked", 70)
    assert practice.progress(ledger, "lee", 70)[0].answered == 0
