"""Consensus: only what all see clearly checks others; only what divides them goes to a reviewer."""

from feedback.quality import consensus
from feedback.quality.gathering import Facts, Given
from feedback.records import utc_now
from tests.builders import make_comparison, make_label

ORDER = [[0], [1], [2], [3]]
SCORES = [7, 5, 3, 1]


def given(name: str, ranking: list[list[int]], quality: list[int] | None = None, **label: object) -> Given:
    made = make_label(make_comparison(id="cmp_1"), labeler=name, ranking=ranking, quality=quality or [], **label)
    return Given(made, Facts([1, 2, 3, 4], "training", "cmp_1", "en"))


def test_pairs_that_all_order_far_apart_become_a_check() -> None:
    three = [given(name, ORDER, SCORES) for name in "abc"]
    (check,) = consensus.consensus({"cmp_1": three}, utc_now())
    assert (check.comparison_id, check.source, check.practice) == ("cmp_1", "consensus", False)
    assert check.pairs == [(0, 2), (0, 3), (1, 3)]


def test_one_dissenter_takes_a_pair_out() -> None:
    other = [given("a", ORDER, SCORES), given("b", ORDER, SCORES), given("c", [[2], [0], [1], [3]], [6, 5, 7, 1])]
    assert consensus.clear_pairs(other) == [(0, 3), (1, 3), (2, 3)]


def test_two_are_no_consensus_and_a_verdict_ends_it() -> None:
    assert consensus.consensus({"cmp_1": [given(name, ORDER, SCORES) for name in "ab"]}, utc_now()) == []
    bad = [*[given(name, ORDER, SCORES) for name in "ab"], given("c", ORDER, SCORES, outcome="all_bad")]
    assert consensus.consensus({"cmp_1": bad}, utc_now()) == []


def test_who_left_something_out_has_no_clear_opinion() -> None:
    assert consensus.clear_pairs([given("a", ORDER), given("b", ORDER), given("c", [[0], [1]])]) == []


def test_checks_and_evaluations_found_no_checks() -> None:
    three = [given(name, ORDER, SCORES) for name in "abc"]
    held = [each._replace(facts=each.facts._replace(purpose="evaluation")) for each in three]
    assert consensus.consensus({"cmp_1": held}, utc_now()) == []
    assert consensus.split({"cmp_1": held}, 1.1) == []


def test_what_divides_three_labelers_is_split() -> None:
    divided = [given("a", ORDER), given("b", ORDER[::-1]), given("c", [[1], [3], [0], [2]])]
    (found,) = consensus.split({"cmp_1": divided}, 0.4)
    assert (found.comparison_id, found.labels) == ("cmp_1", 3)
    assert found.agreement < 0.4
    assert consensus.split({"cmp_1": [given(name, ORDER) for name in "abc"]}, 0.4) == []
    assert consensus.split({"cmp_1": divided[:2]}, 0.4) == []


def test_an_item_is_not_taken_away_before_all_were_heard() -> None:
    divided = [given("a", ORDER), given("b", ORDER[::-1]), given("c", [[1], [3], [0], [2]])]
    four = [each._replace(facts=each.facts._replace(overlap=4)) for each in divided]
    assert consensus.split({"cmp_1": four}, 0.4) == []
    last = given("d", [[2], [1], [3], [0]])
    assert len(consensus.split({"cmp_1": [*four, last._replace(facts=four[0].facts)]}, 0.6)) == 1
