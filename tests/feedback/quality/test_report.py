"""The report: groups, people and their flags come out as they were put in."""

from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest

from feedback.quality import report
from feedback.quality.gathering import Facts, Given, Window
from feedback.quality.pausing import CHECKS
from feedback.records import GoldCheck, Label, utc_now
from tests.builders import NOON, make_comparison, make_label
from tests.feedback.quality.team import WORDS, window

HONEST = {f"lee-{number}": "honest" for number in range(9)}


def gold(label: Label, number: int, right: bool) -> Given:
    """Return the answer to a hidden check of ``cmp_gold``, which wants completion 0 above 3."""
    ranking = [[0], [1], [2], [3]] if right else [[3], [2], [1], [0]]
    changed = msgspec.structs.replace(label, comparison_id=f"cmp_copy{number}", ranking=ranking)
    return Given(changed, Facts(WORDS, "gold", "cmp_gold", "en"))


def test_honest_people_have_no_flags_and_a_group_has_all_its_figures() -> None:
    found = report.build(window(120, HONEST), [], utc_now())
    assert found.labels == 480
    assert list(found.groups) == ["training"]
    group = found.groups["training"]
    assert (group.labelers, group.labels) == (9, 480)
    for each in (group.agreement, group.agreement_with_ties, group.alpha, group.quality_alpha, group.tau):
        assert each.low is not None
        assert each.value is not None
        assert each.high is not None
        assert each.low < each.value < each.high
    assert group.agreement.value == pytest.approx(0.81, abs=0.05)
    assert group.alpha.value == pytest.approx(2 * group.agreement.value - 1, abs=0.05)
    assert sum(bool(person.flags) for person in found.people.values()) <= 1
    assert found.people["lee-0"].s_per_word == pytest.approx(0.6)
    assert found.people["lee-0"].today >= 1


def test_who_reverses_and_who_clicks_on_places_are_flagged_with_reasons() -> None:
    found = report.build(window(120, {**HONEST, "rex": "reverse", "fay": "first"}), [], utc_now())
    assert {name for name, person in found.people.items() if person.flags} >= {"rex", "fay"}
    assert any("odds" in flag for flag in found.people["rex"].flags)
    assert any("agrees with others" in flag for flag in found.people["rex"].flags)
    assert any("place on the page" in flag for flag in found.people["fay"].flags)
    assert found.people["fay"].first_wins.value == 1
    assert found.people["rex"].evidence > 1e6


def test_longer_completions_and_places_are_counted_over_all() -> None:
    found = report.build(window(60, HONEST), [], utc_now())
    assert found.longer_wins.value is not None
    assert found.longer_wins.value < 0.3
    assert len(found.slots) == 4
    assert found.verdicts == {"ranked": 240}
    assert found.per_hour[-1] + found.per_hour[-2] == 240


def test_two_groups_stand_beside_everybody() -> None:
    seen = window(40, HONEST)
    moved = [
        each._replace(label=msgspec.structs.replace(each.label, labeler_group="held-out")) if number % 2 else each
        for number, each in enumerate(seen.given)
    ]
    assert list(report.build(Window(moved, "1-0"), [], utc_now()).groups) == ["all", "held-out", "training"]


def test_the_gold_score_counts_the_last_checks_only() -> None:
    check = GoldCheck(comparison_id="cmp_gold", created_at=NOON, pairs=[(0, 3)], source="operator")
    label = make_label(make_comparison())
    given = [gold(label, number, right=number >= 10) for number in range(CHECKS + 10)]
    score = report.build(Window(given, "1-0"), [check], utc_now()).people["lee"].gold
    assert (score.value, score.n) == (1, CHECKS)
    earlier = report.build(Window(given[:CHECKS], "1-0"), [check], utc_now()).people["lee"].gold
    assert earlier.value == pytest.approx(20 / 30)
    assert report.build(Window(given, "1-0"), [], utc_now()).people["lee"].gold.n == 0


def test_a_repeat_measures_a_labeler_against_themselves_and_nobody_else() -> None:
    comparison = make_comparison(id="cmp_1")
    first = Given(make_label(comparison), Facts(WORDS, "training", "cmp_1", "en"))
    again = make_label(comparison, comparison_id="cmp_2", ranking=[[1], [0], [2], [3]])
    found = report.build(Window([first, Given(again, Facts(WORDS, "repeat", "cmp_1", "en"))], "1-0"), [], utc_now())
    assert found.people["lee"].self_agreement.value == pytest.approx(5 / 6)
    assert found.people["lee"].agreement.value is None
    assert found.groups["training"].labels == 1


def test_drift_is_a_drop_beyond_both_intervals() -> None:
    people = {**HONEST, "max": "honest"}
    early, late = window(150, people, seed=1), window(150, {**HONEST, "max": "reverse"}, seed=2)
    renamed = [
        each._replace(
            label=msgspec.structs.replace(each.label, comparison_id=f"late-{each.label.comparison_id}"),
            facts=each.facts._replace(subject=f"late-{each.facts.subject}"),
        )
        for each in late.given
    ]
    found = report.build(Window([*early.given, *renamed], "1-0"), [], utc_now())
    assert any("of late" in flag for flag in found.people["max"].flags)
    assert not any("of late" in flag for flag in found.people["lee-1"].flags)


def test_following_is_in_the_order_of_time() -> None:
    seen = window(30, HONEST)
    times = [each.label.created_at for each in seen.of_people()["lee-0"]]
    assert all(one < other for one, other in pairwise(times))
    assert sum(map(len, report.following(seen.of_items()).values())) == len(seen.given)


def test_an_empty_window_gives_an_empty_report() -> None:
    found = report.build(Window([], ""), [], utc_now())
    assert (found.labels, found.people, found.groups, found.slots) == (0, {}, {}, [])
    assert found.per_hour == [0] * 24


def test_labels_of_long_ago_are_in_no_hour() -> None:
    seen = window(5, HONEST)
    found = report.build(seen, [], utc_now() + timedelta(days=2))
    assert sum(found.per_hour) == 0
    assert found.people["lee-0"].today == 0


def test_what_a_labeler_is_shown_does_not_move_today() -> None:
    """A look after each answer must not tell which items were checks."""
    yesterday = utc_now() - timedelta(days=1)
    check = GoldCheck(comparison_id="cmp_gold", created_at=NOON, pairs=[(0, 3)], source="operator")
    label = make_label(make_comparison(), created_at=yesterday)
    old = [gold(label, number, right=True) for number in range(10)]
    before = report.build(Window(old, "1-0"), [check], utc_now()).people["lee"]
    new = gold(msgspec.structs.replace(label, created_at=utc_now()), 11, right=False)
    after = report.build(Window([*old, new], "1-0"), [check], utc_now()).people["lee"]
    assert (before.gold.n, after.gold.n) == (10, 11)
    assert before.own == after.own
    assert after.own.gold.n == 10


def test_labels_in_quarantine_are_counted() -> None:
    seen = window(30, HONEST)
    mine = [each.label.created_at for each in seen.of_people()["lee-0"]]
    found = report.build(seen, [], utc_now(), {"lee-0": [(mine[2], None)], "nobody": [(mine[0], None)]})
    assert found.quarantined == len(mine) - 2
