"""Which rows of ranked completions are legal, and which pairs they leave."""

import itertools
import random
from typing import Any

import pytest

from trainer.data.preferences import completion_of, displayed_of, features_of, judged_pairs, responses_of
from trainer.data.rows import Unusable

THREE = [{"text": "x"}, {"text": "y"}, {"text": "z"}]


def judged(*comparisons: Any) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    keys = ("a", "b", "winner", "annotator")
    found = judged_pairs({"comparisons": [dict(zip(keys, c, strict=False)) for c in comparisons]}, THREE)
    return found.pairs, found.ties


def test_winner_comes_first_and_ties_are_kept_apart() -> None:
    assert judged((0, 1, "a"), (1, 2, "b"), (0, 2, "tie")) == ([(0, 1), (2, 1)], [(0, 2)])


def test_labelers_may_contradict_each_other() -> None:
    assert judged((0, 1, "a", "ann"), (0, 1, "b", "bob"), (1, 0, "a", "cal")) == ([(0, 1), (1, 0), (1, 0)], [])


@pytest.mark.parametrize(
    ("comparisons", "reason"),
    [
        ([(0, 1, "a"), (1, 0, "b")], "duplicate pair"),
        ([(0, 1, "a"), (0, 1, "tie")], "duplicate pair"),
        ([(0, 1, "a"), (1, 2, "a"), (2, 0, "a")], "cyclic preferences"),
        ([(0, 3, "a")], "unknown response"),
        ([(-1, 1, "a")], "unknown response"),
        ([(True, 0, "a")], "unknown response"),
        ([("0", 1, "a")], "unknown response"),
        ([(None, 1, "a")], "unknown response"),
        ([(1, 1, "a")], "with itself"),
        ([(0, 1, "A")], "`winner` must be"),
        ([(0, 1)], "`winner` must be"),
        ([(0, 1, ["a"])], "`winner` must be"),
        ([(0, 1, "a", {})], "`annotator` must be"),
    ],
)
def test_illegal_judgement_is_refused_with_its_reason(comparisons: list[Any], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        judged(*comparisons)


@pytest.mark.parametrize("comparisons", ["ab", 3, {}, [1], [None]])
def test_comparisons_of_the_wrong_type_are_refused(comparisons: Any) -> None:
    with pytest.raises(Unusable):
        judged_pairs({"comparisons": comparisons}, THREE)


def test_ranks_make_pairs_where_comparisons_are_absent() -> None:
    ranked = [{"text": "x", "rank": 1}, {"text": "y", "rank": 0}, {"text": "z", "rank": 1}]
    assert judged_pairs({}, ranked)[:2] == ([(1, 0), (1, 2)], [(0, 2)])
    with pytest.raises(Unusable, match="no `comparisons`"):
        judged_pairs({}, THREE)


def test_any_ranking_is_accepted_and_any_added_back_edge_is_a_circle() -> None:
    generator = random.Random(0)
    for _ in range(50):
        size = generator.randint(3, 9)
        order = generator.sample(range(size), size)
        responses = [{"text": str(n)} for n in range(size)]
        pairs = [{"a": a, "b": b, "winner": "a"} for a, b in itertools.combinations(order, 2)]
        generator.shuffle(pairs)
        kept, ties, *_ = judged_pairs({"comparisons": pairs}, responses)
        assert len(kept) == size * (size - 1) // 2
        assert ties == []
        # Turn round the judgement between the best and the worst.
        turned = [p | {"winner": "b"} if {p["a"], p["b"]} == {order[0], order[-1]} else p for p in pairs]
        with pytest.raises(Unusable, match="cyclic"):
            judged_pairs({"comparisons": turned}, responses)


def test_every_judgement_keeps_the_name_of_who_made_it() -> None:
    keys = ("a", "b", "winner", "annotator")
    said = [(0, 1, "a", "ann"), (0, 1, "b", 7), (0, 2, "tie", "ann"), (1, 2, "a")]
    found = judged_pairs({"comparisons": [dict(zip(keys, each, strict=False)) for each in said]}, THREE)
    assert found.labelers == ["ann", "7", ""]
    assert found.tie_labelers == ["ann"]
    ranked = judged_pairs({"labeler": "bob"}, [{"text": "x", "rank": 0}, {"text": "y", "rank": 1}])
    assert ranked.labelers == ["bob"]


def test_the_display_order_says_which_completion_was_seen_first() -> None:
    assert displayed_of({"display_order": [2, 0, 1]}, 3) == {2: 0, 0: 1, 1: 2}
    assert displayed_of({}, 3) == {}
    for broken in ([0, 1], [0, 0, 1], [0, 1, 3], "012"):
        with pytest.raises(Unusable, match="display_order"):
            displayed_of({"display_order": broken}, 3)


def test_features_of_completions_are_read_by_name() -> None:
    rows = [{"features": {"polite": 1, "rhymes": 0.5}}, {}, {"features": {"polite": 2}}]
    assert features_of(rows) == {"polite": [1.0, 0.0, 2.0], "rhymes": [0.5, 0.0, 0.0]}
    assert features_of(THREE) == {}
    for broken in ("polite", {"polite": "very"}):
        with pytest.raises(Unusable, match="features"):
            features_of([{"features": broken}])


def test_votes_on_single_pairs_may_go_in_a_circle() -> None:
    """A crowd worker who sees one pair at a time ranks nothing: three of ten rows of a real crowd's votes do this."""
    circle = [{"a": 0, "b": 1, "winner": "a"}, {"a": 1, "b": 2, "winner": "a"}, {"a": 2, "b": 0, "winner": "a"}]
    four = [*THREE, {"text": "not judged"}]
    assert judged_pairs({"comparisons": circle}, four)[:2] == ([(0, 1), (1, 2), (2, 0)], [])
    with pytest.raises(Unusable, match="cyclic"):
        judged_pairs({"comparisons": circle}, THREE)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({}, "`text` must be"),
        ({"text": 3}, "`text` must be"),
        ({"text": None}, "`text` must be"),
        ({"text": "a", "finished": "yes"}, "`finished` must be"),
        ({"text": "", "finished": False}, "has no token"),
    ],
)
def test_illegal_completion_is_refused_with_its_reason(response: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        completion_of(response, 0)


def test_saying_nothing_and_stopping_is_a_completion() -> None:
    assert completion_of({"text": ""}, 0) == ("", True)
    assert completion_of({"text": "a", "finished": None}, 0) == ("a", True)


@pytest.mark.parametrize("responses", [None, [], [{"text": "a"}], ["a", "b"], {"text": "a"}])
def test_fewer_than_two_completions_are_refused(responses: Any) -> None:
    with pytest.raises(Unusable, match="`responses`"):
        responses_of({"responses": responses})
