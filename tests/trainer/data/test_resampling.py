"""Bootstrap samples: as many draws as there are prompts or labelers, the same for the same seed."""

from __future__ import annotations

from collections import Counter

import pytest

from feedback.errors import DataError
from trainer.data.examples import PreferenceGroup
from trainer.data.replay import merge_labels, rows_of
from trainer.data.resampling import resample


def group(number: int, labelers: str, ties: str = "", prompt: int | None = None) -> PreferenceGroup:
    """One comparison of three completions on which each of some labelers made one judgement."""
    return PreferenceGroup(
        id=f"c{number}",
        messages=[{"role": "user", "content": str(number)}],
        prompt_ids=[number if prompt is None else prompt],
        completions=[[1, 2], [3, 2], [4, 2]],
        finished=[True] * 3,
        pairs=[(0, place % 2 + 1) for place in range(len(labelers))],
        ties=[(1, 2) for _ in ties],
        labelers=list(labelers),
        tie_labelers=list(ties),
        first_shown=[1] * len(labelers),
    )


def test_prompts_are_drawn_with_all_their_rows_and_as_often_when_others_have_come() -> None:
    groups = [group(number, "a", prompt=number // 2) for number in range(800)]
    drawn = Counter(each.id for each in resample(groups, "prompts", seed=1))
    assert 700 < sum(drawn.values()) < 900
    assert all(drawn[f"c{n}"] == drawn[f"c{n + 1}"] for n in range(0, 800, 2))
    # Of a Poisson number of mean 1: 37 % are left out, 37 % are there once, 18 % twice, 8 % more often.
    shares = [count / 400 for _, count in sorted(Counter(drawn[f"c{n}"] for n in range(0, 800, 2)).items())]
    assert shares[:3] == pytest.approx([0.368, 0.368, 0.184], abs=0.06)
    fewer = Counter(each.id for each in resample(groups[:100], "prompts", seed=1))
    assert all(drawn[id] == count for id, count in fewer.items())
    assert resample(groups, "prompts", seed=1) == resample(groups, "prompts", seed=1)
    assert resample(groups, "prompts", seed=1) != resample(groups, "prompts", seed=2)
    assert resample(groups, "none", seed=1) == groups


def test_labelers_are_drawn_with_everything_that_they_said() -> None:
    names = "abcdefgh"
    groups = [group(number, names[number % 8]) for number in range(80)]
    drawn = Counter(name for each in resample(groups, "labelers", seed=3) for name in each.labelers)
    assert sum(drawn.values()) == 80  # eight draws, of ten rows each
    assert set(drawn.values()) <= {10 * times for times in range(1, 9)}
    assert 1 < len(drawn) < 8


def test_a_comparison_that_several_judged_is_one_group_for_each_time_that_one_of_them_was_drawn() -> None:
    rows = [group(0, "a"), group(0, "b", "b"), group(0, "c")]
    (merged,) = merge_labels(rows)
    copies = resample([merged], "labelers", seed=5)
    said = Counter(name for copy in copies for name in copy.labelers)
    assert sum(said.values()) == 3
    assert len(copies) == max(said.values())
    for copy in copies:
        assert len(set(copy.labelers)) == len(copy.labelers) == len(copy.pairs) == len(copy.first_shown)
        assert copy.tie_labelers == [name for name in copy.labelers if name == "b"]
        assert [name for row in rows_of(copy) for name in row.labelers] == copy.labelers


def test_judgements_of_nobody_cannot_be_drawn_by_labeler() -> None:
    nameless = group(7, "a")
    nameless.labelers[0] = ""
    with pytest.raises(DataError, match="row c7 does not say who judged"):
        resample([group(1, "a"), nameless], "labelers", seed=1)
