"""Figures of every set beside both baselines, and the table of them."""

from benchmarks.bench_preferences import SCORERS, bags, by_set, table
from benchmarks.preference_sets import deal
from tests.benchmarks.test_preference_runs import rows


def test_every_row_gets_a_bag_of_words_that_did_not_see_it() -> None:
    some = rows()
    found = bags(some, deal(some, 3))
    assert set(found) == {row.id for row in some}
    # Every chosen text has the word that every other bag learned.
    assert all(good > bad for good, bad in found.values())


def test_the_table_has_a_line_a_set() -> None:
    some = rows()
    wrong, right = ({row.id: scores for row in some} for scores in ([0.0, 1.0], [1.0, 0.0]))
    found = by_set(some, dict(zip(SCORERS, (wrong, right, right, right), strict=True)))
    assert found["pref-0"]["all_sets"]["value"] == 0.0
    assert found["pref-0"]["bag_of_words"]["value"] == found["pref-0"]["longer"]["value"] == 1.0
    assert found["pref-1"]["all_sets-longer"]["value"] == -1.0
    assert [line.split()[0] for line in table(found).splitlines()] == ["set", "pref-0", "pref-1"]
