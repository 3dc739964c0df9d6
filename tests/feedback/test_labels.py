"""Labels: a ranking must fit its comparison; a label is appended once and never changed."""

from typing import Any

import pytest

from feedback import labels
from feedback.client import Ledger
from feedback.errors import Conflict, InvalidRecord, LeaseLost
from feedback.records import QueueConfig, Span
from tests.builders import lease_next, make_comparison, make_label, open_comparison


def test_a_label_is_stored_under_its_lease_and_read_back(ledger: Ledger) -> None:
    comparison = open_comparison(ledger)
    made = make_label(comparison, flags={"rude": [1]}, quality=[7, 5, 3, 1], note="clear")
    answer = labels.submit(ledger, made, comparison, lease_next(ledger).token)
    assert not answer.repeated
    assert list(labels.read(ledger)) == [(answer.entry_id, made)]
    assert labels.count(ledger) == 1


def test_labels_are_read_in_order_and_from_any_entry_on(ledger: Ledger) -> None:
    made = []
    for _ in range(4):
        comparison = open_comparison(ledger)
        made.append(make_label(comparison))
        labels.submit(ledger, made[-1], comparison, lease_next(ledger).token)
    read = list(labels.read(ledger))
    assert [label for _, label in read] == made
    assert [label for _, label in labels.read(ledger, after=read[1][0])] == made[2:]


def test_a_submission_again_gives_the_same_entry_however_long_it_took(ledger: Ledger) -> None:
    comparison = open_comparison(ledger)
    token = lease_next(ledger).token
    made = make_label(comparison)
    first = labels.submit(ledger, made, comparison, token)
    second = labels.submit(ledger, make_label(comparison, id=made.id, active_s=9.0), comparison, token)
    assert second.repeated
    assert second.entry_id == first.entry_id
    assert [label for _, label in labels.read(ledger)] == [made]


def test_another_answer_under_the_same_id_is_a_conflict_and_the_first_is_kept(ledger: Ledger) -> None:
    comparison = open_comparison(ledger)
    token = lease_next(ledger).token
    made = make_label(comparison)
    labels.submit(ledger, made, comparison, token)
    for changes in ({"ranking": [[3], [2], [1], [0]]}, {"note": "hm"}, {"labeler": "bob"}, {"quality": [1, 2, 3, 4]}):
        with pytest.raises(Conflict, match="the first"):
            labels.submit(ledger, make_label(comparison, id=made.id, **changes), comparison, token)
    assert [label for _, label in labels.read(ledger)] == [made]


def test_a_lost_lease_stores_nothing(ledger: Ledger) -> None:
    comparison = open_comparison(ledger)
    with pytest.raises(LeaseLost, match="not stored"):
        labels.submit(ledger, make_label(comparison), comparison, token=1)
    assert labels.count(ledger) == 0


@pytest.mark.parametrize(
    "ranking",
    [[[0], [1], [2], [3]], [[3, 2, 1, 0]], [[1], [0, 3], [2]]],
    ids=["no ties", "all tied", "some tied"],
)
def test_every_order_with_or_without_ties_is_a_ranking(ranking: list[list[int]]) -> None:
    comparison = make_comparison()
    labels.check(make_label(comparison, ranking=ranking), comparison)


@pytest.mark.parametrize(
    "ranking",
    [
        [],
        [[]],
        [[0], [1], [2]],
        [[0], [1], [2], [3], [3]],
        [[0], [1], [2], [4]],
        [[-1], [1], [2], [3]],
        [[0, 0], [1], [2], [3]],
        [[0], [], [1], [2], [3]],
    ],
)
def test_what_is_no_permutation_in_tie_groups_is_refused(ranking: list[list[int]]) -> None:
    comparison = make_comparison()
    with pytest.raises(InvalidRecord, match="ranking"):
        labels.check(make_label(comparison, ranking=ranking), comparison)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"quality": [4]}, "quality has 1 entries for 4"),
        ({"quality": [4] * 5}, "quality has 5 entries for 4"),
        ({"flags": {"rude": [4]}}, "rude"),
        ({"flags": {"rude": [-1]}}, "rude"),
    ],
)
def test_quality_and_flags_must_fit_the_completions(changes: dict[str, Any], named: str) -> None:
    comparison = make_comparison()
    with pytest.raises(InvalidRecord, match=named):
        labels.check(make_label(comparison, **changes), comparison)


@pytest.mark.parametrize("changes", [{"quality": [0, 1, 2, 3]}, {"quality": [8] * 4}, {"active_s": float("nan")}])
def test_a_label_that_readers_would_choke_on_is_refused_and_the_lease_lives_on(
    ledger: Ledger, changes: dict[str, Any]
) -> None:
    comparison = open_comparison(ledger)
    token = lease_next(ledger).token
    with pytest.raises(InvalidRecord):
        labels.submit(ledger, make_label(comparison, **changes), comparison, token)
    assert list(labels.read(ledger)) == []
    labels.submit(ledger, make_label(comparison), comparison, token)


def test_a_label_of_another_comparison_is_refused() -> None:
    comparison = make_comparison()
    with pytest.raises(InvalidRecord, match=comparison.id):
        labels.check(make_label(make_comparison()), comparison)


def test_a_ranking_of_four_makes_six_pairs() -> None:
    assert list(labels.pairs([[2], [0, 3], [1]])) == [
        (0, 1, "a"),
        (0, 2, "b"),
        (0, 3, "tie"),
        (1, 2, "b"),
        (1, 3, "b"),
        (2, 3, "a"),
    ]


@pytest.mark.parametrize("k", range(2, 10))
def test_a_ranking_of_k_makes_k_choose_2_pairs(k: int) -> None:
    found = list(labels.pairs([[index] for index in reversed(range(k))]))
    assert len(found) == k * (k - 1) // 2
    assert all(a < b and winner == "b" for a, b, winner in found)


STRICT = QueueConfig(name="strict", ties=False, partial_order=False)
LENIENT = QueueConfig(name="lenient")


@pytest.mark.parametrize("ranking", [[[2], [0]], [[3, 1]], [[0], [1], [2]]])
def test_an_order_of_some_is_taken_only_where_the_queue_says_so(ranking: list[list[int]]) -> None:
    comparison = make_comparison()
    label = make_label(comparison, ranking=ranking)
    labels.check(label, comparison, LENIENT)
    for config in (STRICT, None):
        with pytest.raises(InvalidRecord, match="exactly once"):
            labels.check(label, comparison, config)


@pytest.mark.parametrize("ranking", [[], [[]], [[1]], [[1], []]])
def test_an_order_of_fewer_than_two_compares_nothing(ranking: list[list[int]]) -> None:
    comparison = make_comparison()
    with pytest.raises(InvalidRecord, match=r"at least two|empty tie group"):
        labels.check(make_label(comparison, ranking=ranking), comparison, LENIENT)


def test_ties_are_refused_where_the_queue_takes_none_but_a_verdict_on_all_is_no_tie() -> None:
    comparison = make_comparison(k=3)
    with pytest.raises(InvalidRecord, match="ties"):
        labels.check(make_label(comparison, ranking=[[0, 1], [2]]), comparison, STRICT)
    labels.check(make_label(comparison, outcome="all_good", ranking=labels.verdict_on_all(3)), comparison, STRICT)


@pytest.mark.parametrize("ranking", [[], [[0], [1, 2]], [[0, 1]], [[0, 1, 2, 2]]])
def test_a_verdict_on_all_is_of_all(ranking: list[list[int]]) -> None:
    comparison = make_comparison(k=3)
    with pytest.raises(InvalidRecord, match="all_bad"):
        labels.check(make_label(comparison, outcome="all_bad", ranking=ranking), comparison, LENIENT)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"spans": [Span(completion=4, start=0, end=1)]}, "span"),
        ({"spans": [Span(completion=0, start=2, end=2)]}, "span"),
        ({"spans": [Span(completion=0, start=0, end=9)]}, "span"),
        ({"read_s": [1.0]}, "read_s"),
        ({"flags": {"rude": [0]}}, "no flag 'rude'"),
    ],
)
def test_spans_times_and_flags_must_fit_too(changes: dict[str, Any], named: str) -> None:
    comparison = make_comparison()
    with pytest.raises(InvalidRecord, match=named):
        labels.check(make_label(comparison, **changes), comparison, flags={"violent"})
    fine = make_label(comparison, spans=[Span(completion=0, start=0, end=8)], flags={"violent": [3]}, read_s=[1.0] * 4)
    labels.check(fine, comparison, flags={"violent"})


def test_what_was_not_compared_is_in_no_pair() -> None:
    assert list(labels.pairs([[2], [0, 3]])) == [(0, 2, "b"), (0, 3, "tie"), (2, 3, "a")]
    assert list(labels.pairs([])) == []


def test_what_is_said_now_is_the_last_revision_in_the_order_of_the_first(ledger: Ledger) -> None:
    first, second = (open_comparison(ledger) for _ in range(2))
    made = [make_label(each) for each in (first, second)]
    for label, comparison in zip(made, (first, second), strict=True):
        labels.submit(ledger, label, comparison, lease_next(ledger).token)
    better = make_label(first, ranking=[[3], [2], [1], [0]], revision=1, revision_of=made[0].id)
    labels.revise(ledger, better, first)
    assert [label for _, label in labels.current(ledger)] == [better, made[1]]
    assert [label for _, label in labels.read(ledger)] == [*made, better]
    assert labels.count(ledger) == 2
