"""Gold checks: kept by comparison, and unforgiving towards who does not decide."""

import pytest

from feedback import gold
from feedback.client import Ledger
from feedback.errors import InvalidRecord, NotFound
from feedback.gold import Pair
from feedback.records import GoldCheck
from tests.builders import NOON, open_comparison


def make_check(comparison_id: str = "cmp_1", pairs: list[Pair] | None = None) -> GoldCheck:
    return GoldCheck(
        comparison_id=comparison_id,
        created_at=NOON,
        pairs=[(0, 1), (0, 2)] if pairs is None else pairs,
        source="operator",
    )


@pytest.mark.parametrize(
    ("ranking", "wrong"),
    [
        ([[0], [1], [2], [3]], []),
        ([[0], [1, 2, 3]], []),
        ([[3], [0], [2], [1]], []),
        ([[1], [0], [2], [3]], [(0, 1)]),
        ([[0, 1], [2], [3]], [(0, 1)]),
        ([[3], [2], [1], [0]], [(0, 1), (0, 2)]),
        ([[0], [1]], [(0, 2)]),
        ([[1], [2]], [(0, 1), (0, 2)]),
    ],
)
def test_a_ranking_violates_what_it_does_not_order_right(ranking: list[list[int]], wrong: list[Pair]) -> None:
    assert gold.violated(make_check(), ranking) == wrong


def test_a_verdict_on_all_orders_nothing() -> None:
    for outcome in ("all_bad", "all_good"):
        assert len(gold.violated(make_check(), [[0], [1], [2], [3]], outcome)) == 2  # type: ignore[arg-type]


def test_checks_are_kept_and_forgotten(ledger: Ledger) -> None:
    comparison = open_comparison(ledger)
    check = make_check(comparison.id)
    gold.add(ledger, check)
    gold.add(ledger, check)
    assert gold.all_checks(ledger) == [check]
    assert gold.get(ledger, comparison.id) == check
    gold.remove(ledger, comparison.id)
    assert gold.all_checks(ledger) == []
    with pytest.raises(NotFound):
        gold.remove(ledger, comparison.id)


@pytest.mark.parametrize(
    ("pairs", "why"),
    [([], "no pair"), ([(0, 4)], "not there"), ([(1, 1)], "contradict"), ([(0, 1), (1, 2), (2, 0)], "contradict")],
)
def test_a_check_that_nobody_can_pass_is_refused(ledger: Ledger, pairs: list[Pair], why: str) -> None:
    comparison = open_comparison(ledger)
    with pytest.raises(InvalidRecord, match=why):
        gold.add(ledger, make_check(comparison.id, pairs))


def test_a_check_needs_its_comparison(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        gold.add(ledger, make_check("cmp_none"))
