"""Caps: nobody above their share, nobody cut for nothing, the same rows every time."""

from collections import Counter

import pytest

from feedback.records import Comparison, Label
from feedback.snapshots.caps import Caps, apply, level, limit_votes
from tests.builders import make_comparison, make_label

Pair = tuple[Label, Comparison]
STRICT = Caps(at_least=1)


def row(number: int, labeler: str = "", customer: str = "", **changes: object) -> Pair:
    comparison = make_comparison(k=2, id=f"cmp_{number}", customer=customer or f"c{number}")
    return make_label(comparison, id=f"lbl_{number}", labeler=labeler or f"l{number}", **changes), comparison


def share(pairs: list[Pair], of: str) -> float:
    names = Counter(label.labeler if of == "labeler" else comparison.customer for label, comparison in pairs)
    return max(names.values()) / len(pairs)


def test_one_key_that_sends_nine_tenths_ends_at_its_share() -> None:
    pairs = [row(n, customer="loud" if n < 3600 else "") for n in range(4000)]
    kept, left_out, applied = apply(pairs, STRICT)
    assert applied["customer_share"] == 0.005
    assert share(kept, "customer") <= 0.005
    assert set(left_out.values()) == {"customer cap"}
    assert len(kept) + len(left_out) == 4000
    assert len(kept) >= 400, "the others are all still there"


def test_one_labeler_of_many_ends_at_a_tenth() -> None:
    pairs = [row(n, labeler="busy" if n < 500 else f"l{n % 40}") for n in range(1000)]
    kept, left_out, _ = apply(pairs, STRICT)
    assert share(kept, "labeler") <= 0.1
    assert set(left_out.values()) == {"labeler cap"}
    assert len(kept) == 500 + 55, "55 of 555 is the most that stays within a tenth"


def test_a_team_too_small_for_the_share_is_held_to_twice_an_equal_part() -> None:
    pairs = [row(n, labeler=f"l{n % 5}") for n in range(500)]
    kept, left_out, applied = apply(pairs, STRICT)
    assert (len(kept), left_out, applied["labeler_share"]) == (500, {}, 0.4)
    uneven = [row(n, labeler="busy" if n < 900 else f"l{n % 4}") for n in range(1000)]
    kept, _, _ = apply(uneven, STRICT)
    assert share(kept, "labeler") <= 0.4
    assert len(kept) == 100 + 66


def test_nobody_is_cut_below_the_rows_that_everybody_may_have() -> None:
    pairs = [row(n, labeler="one" if n < 100 else f"l{n}") for n in range(102)]
    assert apply(pairs, Caps(at_least=100))[1] == {}
    assert len(apply(pairs, Caps(at_least=10))[0]) == 12


def test_one_labeler_alone_and_nobody_at_all_are_fine() -> None:
    assert apply([row(n, labeler="lee", customer="acme") for n in range(300)], STRICT)[1] == {}
    assert apply([], STRICT)[:2] == ([], {})


def test_held_out_labelers_and_imported_sets_are_not_cut() -> None:
    pairs = [row(n, labeler="hal", labeler_group="held-out") for n in range(500)]
    pairs += [row(n, labeler="set:a", customer="import:set", labeler_group="imported") for n in range(500, 1000)]
    pairs += [row(n, labeler=f"l{n % 30}") for n in range(1000, 1300)]
    assert apply(pairs, STRICT)[1] == {}


def test_a_larger_set_keeps_what_a_smaller_one_kept() -> None:
    pairs = [row(n, labeler="busy" if n % 2 else f"l{n % 80}") for n in range(2000)]
    small = {label.id for label, _ in apply(pairs[:1000], STRICT)[0] if label.labeler == "busy"}
    large = {label.id for label, _ in apply(pairs, STRICT)[0] if label.labeler == "busy"}
    first = {f"lbl_{n}" for n in range(1000)}
    again, _, _ = apply(pairs[:1000], STRICT)
    assert small == {label.id for label, _ in again if label.labeler == "busy"}
    assert large & first <= small or small <= large & first


@pytest.mark.parametrize(
    ("counts", "of", "most"), [([10, 10, 10], 0.5, 10), ([900, 10, 10, 10], 0.5, 30), ([], 0.1, 0), ([7], 2.0, 7)]
)
def test_the_level_is_the_largest_that_keeps_everybody_within_the_share(
    counts: list[int], of: float, most: int
) -> None:
    assert level(counts, of) == most


def test_customers_votes_stay_within_their_share_and_take_turns() -> None:
    comparison = make_comparison(k=2)
    labelers = [make_label(comparison, id=f"lbl_{n}", ranking=[[0], [1]]) for n in range(18)]
    votes = [
        make_label(comparison, id=id, labeler=id[0], labeler_group="customer", ranking=[[0], [1]])
        for id in ("a1", "a2", "a3", "b1", "c1")
    ]
    pairs = [(label, comparison) for label in [*votes[:3], *labelers, *votes[3:]]]
    kept, left_out = limit_votes(pairs, 0.1)
    assert [label.id for label, _ in kept] == ["a1", *(label.id for label in labelers), "b1"]
    assert left_out == dict.fromkeys(["a2", "a3", "c1"], "customers' share")
    assert limit_votes(pairs, 0.5) == (pairs, {})
    assert [label.id for label, _ in limit_votes(pairs[:3], 0.1)[0]] == []
