"""The screen: every reason to leave a row out, one by one, and nothing else is left out."""

from datetime import timedelta
from typing import Any

import pytest

from feedback.access import Withdrawn
from feedback.errors import DataError
from feedback.records import Comparison, DemonstrationReview, Label
from feedback.snapshots import screen
from feedback.snapshots.screen import View
from feedback.tombstones import Tombstone, Tombstones
from tests.builders import NOON, make_comparison, make_demonstration, make_label, make_prompt

CLEAR = View(
    now=NOON,
    erased=Tombstones({}, frozenset()),
    withdrawn=Withdrawn(frozenset(), frozenset()),
    quarantined={},
    adjudicated=frozenset(),
    discarded=frozenset(),
    reviewed={},
    labelers=frozenset(),
    customers=frozenset(),
    versions=frozenset(),
    keys={},
)
ERASED = Tombstones({"acme": Tombstone("acme", NOON.timestamp())}, frozenset())
LATER = NOON + timedelta(hours=2)


def reason(label: dict[str, Any] | None = None, view: dict[str, Any] | None = None, **comparison: Any) -> str:
    made = make_comparison(id="cmp_1", **comparison)
    return screen.why_not(make_label(made, **(label or {})), made, CLEAR._replace(**(view or {})))


def test_an_ordinary_label_is_kept() -> None:
    assert reason() == ""
    assert reason(split="valid") == ""
    assert reason(split="valid", purpose="agreement") == ""


@pytest.mark.parametrize("purpose", ["gold", "repeat", "evaluation"])
def test_no_other_purpose_ever_trains(purpose: str) -> None:
    assert reason(purpose=purpose) == f"purpose {purpose}"


def test_what_is_held_out_stays_out_of_training() -> None:
    assert reason(split="test") == "training of split test"
    assert reason(purpose="agreement") == "agreement of split train"


@pytest.mark.parametrize(
    ("view", "why"),
    [
        ({"erased": Tombstones({}, frozenset({"cmp_1"}))}, "erased"),
        ({"erased": ERASED}, "erased"),
        ({"withdrawn": Withdrawn(frozenset(), frozenset({"acme"}))}, "consent withdrawn"),
        ({"withdrawn": Withdrawn(frozenset({"key_1"}), frozenset()), "keys": {"pro_1": "key_1"}}, "consent withdrawn"),
        ({"quarantined": {"lee": [(NOON, None)]}}, "labeler in quarantine"),
        ({"quarantined": {"lee": [(NOON - timedelta(days=1), NOON)]}}, "labeler in quarantine"),
        ({"quarantined": {"lee": [(LATER, None)], "ann": [(NOON, None)]}}, ""),
        ({"labelers": frozenset({"ann"})}, "unknown labeler"),
        ({"labelers": frozenset({"lee"})}, ""),
        ({"customers": frozenset({"other"})}, "unknown customer"),
        ({"customers": frozenset({"acme"})}, ""),
        ({"versions": frozenset({"policy-0001"})}, "unknown version"),
        ({"versions": frozenset({"policy-0000"})}, ""),
        ({"adjudicated": frozenset({"cmp_1"})}, "adjudicated"),
        ({"discarded": frozenset({"cmp_1"})}, "discarded by a reviewer"),
        ({"without": frozenset({"labeler:lee"})}, "without labeler:lee"),
        ({"without": frozenset({"customer:acme"})}, "without customer:acme"),
        ({"without": frozenset({"customer:lee", "labeler:acme"})}, ""),
    ],
)
def test_what_the_ledger_says_beside_the_label_counts(view: dict[str, Any], why: str) -> None:
    assert reason(view=view) == why


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ({"ranking": [[0], [1], [2], [4]]}, "ranking does not fit"),
        ({"ranking": [[0], [0, 1]]}, "ranking does not fit"),
        ({"ranking": [[-1], [1]]}, "ranking does not fit"),
        ({"ranking": [[3], [1]]}, ""),
        ({"outcome": "all_bad", "ranking": [[0, 1, 2, 3]]}, "nothing to learn"),
        ({"outcome": "all_good", "ranking": []}, "nothing to learn"),
        ({"created_at": LATER}, "impossible time"),
        ({"created_at": NOON.replace(year=1969)}, "impossible time"),
        ({"created_at": NOON + timedelta(minutes=59)}, ""),
    ],
)
def test_what_the_label_says_itself_counts(label: dict[str, Any], why: str) -> None:
    assert reason(label) == why


def test_what_labelers_wrote_and_imported_sets_need_no_key() -> None:
    view = {"customers": frozenset({"acme"})}
    assert reason(view=view, customer="labeler:lee") == ""
    assert reason(view=view, customer="import:shop:acme") == ""
    assert screen.prompt(make_prompt(customer="other"), CLEAR._replace(**view)) == "unknown customer"
    written = make_demonstration(make_prompt(customer="other"))
    assert screen.demonstration(written, CLEAR._replace(**view)) == "unknown customer"


def test_a_withdrawn_key_counts_where_the_comparison_names_it() -> None:
    view = {"withdrawn": Withdrawn(frozenset({"key_1"}), frozenset())}
    assert reason(view=view, key_id="key_1") == "consent withdrawn"
    assert reason(view=view, key_id="key_2") == ""


def test_only_the_highest_revision_counts_and_a_repeated_id_counts_once() -> None:
    comparison = make_comparison()
    first = make_label(comparison, id="a")
    second = make_label(comparison, id="b", revision=1, revision_of="a")
    third = make_label(comparison, id="c", revision=2, revision_of="a")
    kept, superseded, again = screen.newest([third, first, second, first])
    assert [label.id for label in kept] == ["c"]
    assert superseded == {"a": "superseded", "b": "superseded"}
    assert again == 1


def two(first: list[list[int]], second: list[list[int]]) -> tuple[Comparison, list[Label]]:
    comparison = make_comparison(k=2)
    return comparison, [
        make_label(comparison, id="a", ranking=first),
        make_label(comparison, id="b", ranking=second),
        make_label(comparison, id="other", labeler="ann", ranking=[[1], [0]]),
    ]


def test_who_contradicts_themselves_is_not_believed_either_way() -> None:
    comparison, given = two([[0], [1]], [[1], [0]])
    kept, left_out = screen.labels(given, {comparison.id: comparison}, CLEAR)
    assert [label.id for label, _ in kept] == ["other"]
    assert left_out == {"a": "contradicts itself", "b": "contradicts itself"}


def test_who_says_the_same_twice_counts_once() -> None:
    comparison, given = two([[0, 1]], [[1, 0]])
    kept, left_out = screen.labels(given, {comparison.id: comparison}, CLEAR)
    assert [label.id for label, _ in kept] == ["a", "other"]
    assert left_out == {"b": "repeated answer"}


def reviewed(verdict: str, of: str = "dem_1") -> dict[str, Any]:
    said = DemonstrationReview(id="drv_1", created_at=NOON, demonstration_id=of, verdict=verdict, reviewer="olga")
    return {"reviewed": {of: said}}


@pytest.mark.parametrize(
    ("view", "why"),
    [
        ({}, ""),
        (reviewed("accepted"), ""),
        (reviewed("rejected"), "rejected by a reviewer"),
        (reviewed("returned"), "returned by a reviewer"),
        (reviewed("rejected", of="dem_0"), "rejected by a reviewer"),
        (reviewed("returned", of="dem_0"), ""),
        ({"erased": ERASED}, "erased"),
        ({"withdrawn": Withdrawn(frozenset(), frozenset({"acme"}))}, "consent withdrawn"),
        ({"withdrawn": Withdrawn(frozenset({"key_1"}), frozenset()), "keys": {"pro_1": "key_1"}}, "consent withdrawn"),
        ({"quarantined": {"lee": [(NOON, None)]}}, "labeler in quarantine"),
        ({"labelers": frozenset({"ann"})}, "unknown labeler"),
        ({"without": frozenset({"labeler:lee"})}, "without labeler:lee"),
        ({"now": NOON - timedelta(days=1)}, "impossible time"),
    ],
)
def test_demonstrations_are_screened_alike(view: dict[str, Any], why: str) -> None:
    written = make_demonstration(make_prompt(id="pro_1"), id="dem_1", revision_of="dem_0", revision=1)
    assert screen.demonstration(written, CLEAR._replace(**view)) == why


@pytest.mark.parametrize(
    ("view", "why"),
    [
        ({}, ""),
        ({"erased": ERASED}, "erased"),
        ({"withdrawn": Withdrawn(frozenset({"key_1"}), frozenset())}, "consent withdrawn"),
        ({"without": frozenset({"customer:acme"})}, "without customer:acme"),
        ({"now": NOON - timedelta(days=1)}, "impossible time"),
    ],
)
def test_prompts_are_screened_alike(view: dict[str, Any], why: str) -> None:
    assert screen.prompt(make_prompt(key_id="key_1"), CLEAR._replace(**view)) == why


def test_one_per_cent_of_malformed_rows_is_the_most_that_is_borne() -> None:
    screen.check_malformed({"comparisons": {"too long": 10, "erased": 900}}, 1000)
    screen.check_malformed({"comparisons": {"too long": 3}}, 5)
    with pytest.raises(DataError, match=r"11 of 1000 rows .* \(impossible time: 6, too long: 5\)"):
        screen.check_malformed({"comparisons": {"too long": 5}, "prompts": {"impossible time": 6}}, 1000)
