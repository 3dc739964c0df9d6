"""Votes: fair pairs only, stored once, as a comparison and a label that snapshots take."""

import pytest

from feedback import comparisons, keys, labels, votes
from feedback.client import Ledger
from feedback.errors import Conflict, InvalidRecord
from feedback.records import Battle, Comparison, Interaction, utc_now
from tests.builders import make_interaction, make_messages

pytestmark = pytest.mark.redis


def answers() -> tuple[Interaction, Interaction]:
    """Two complete answers of two policies to one prompt."""
    a = make_interaction(completion="A pear.", policy_version="policy-0001", sampling={"seed": 5, "temperature": 0.3})
    return a, make_interaction(completion="A stone", policy_version="policy-0002", finish_reason="length")


def compared(id: str = "cmp_1") -> Comparison:
    return votes.to_comparison(id, "pro_1", "train", *answers())


def test_two_answers_make_a_comparison_that_says_where_they_came_from() -> None:
    made = compared()
    assert (made.k, made.customer, made.split, made.messages) == (2, "acme", "train", make_messages())
    first, second = made.completions
    assert (first.text, first.policy_version, first.seed, first.temperature) == ("A pear.", "policy-0001", 5, 0.3)
    assert (second.finished, second.seed, second.temperature) == (False, 0, 1.0)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"messages": make_messages("Name a tree.")}, InvalidRecord),
        ({"finish_reason": ""}, Conflict),
        ({"finish_reason": "aborted"}, Conflict),
    ],
)
def test_an_unfair_pair_is_refused(changes: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        votes.to_comparison("cmp_1", "pro_1", "train", make_interaction(), make_interaction(**changes))


def test_one_answer_is_no_pair() -> None:
    answer = make_interaction()
    with pytest.raises(InvalidRecord):
        votes.to_comparison("cmp_1", "pro_1", "train", answer, answer)


@pytest.mark.parametrize(
    ("verdict", "pairs"),
    [("a", [(0, 1, "a")]), ("b", [(0, 1, "b")]), ("tie", [(0, 1, "tie")]), ("both_bad", [(0, 1, "tie")])],
)
def test_a_verdict_is_a_ranking(verdict: votes.Verdict, pairs: list[tuple[int, int, str]]) -> None:
    label = votes.to_label("vot_1", compared(), verdict, blind=True)
    assert list(labels.pairs(label.ranking)) == pairs
    assert label.quality == ([1, 1] if verdict == "both_bad" else [])
    assert (label.labeler, label.labeler_group) == ("acme", "customer")


def test_a_vote_is_stored_once_with_its_comparison(ledger: Ledger) -> None:
    comparison = compared()
    label = votes.to_label("vot_1", comparison, "a", blind=True)
    mark = keys.battle_vote("b1")
    assert [votes.take(ledger, comparison, label, mark) for _ in range(3)] == [True, False, False]
    assert [each for _, each in labels.read(ledger)] == [label]
    assert comparisons.get(ledger, comparison.id) == comparison
    assert ledger.redis.ttl(mark) > 0


def test_another_vote_changes_nothing(ledger: Ledger) -> None:
    comparison, mark = compared(), keys.battle_vote("b1")
    votes.take(ledger, comparison, votes.to_label("vot_1", comparison, "a", blind=True), mark)
    with pytest.raises(Conflict):
        votes.take(ledger, comparison, votes.to_label("vot_2", comparison, "b", blind=True), mark)
    assert [each.id for _, each in labels.read(ledger)] == ["vot_1"]


def test_a_battle_is_found_until_it_is_void(ledger: Ledger) -> None:
    battle = Battle(id="b1", created_at=utc_now(), customer="acme", versions=["policy-0001", "policy-0002"])
    votes.open_battle(ledger, battle)
    assert votes.find_battle(ledger, "b1") == battle
    assert 0 < ledger.redis.ttl(keys.battle("b1")) <= votes.BATTLE_S
    votes.void_battle(ledger, battle)
    assert votes.find_battle(ledger, "b1") is None
