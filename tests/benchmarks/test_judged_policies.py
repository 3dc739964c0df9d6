"""A group's preference among answers is its own taste's, and ties count half."""

from __future__ import annotations

import pytest

from benchmarks.bench_labeler_model import policies
from benchmarks.judged_policies import UNNAMED, answered, preferred
from benchmarks.judged_worlds import Judges
from deploy.base import SHIPPED

BRIEF, KIND = "brief people", "kind people"
PROMPT = "For my school: Say it kindly: Give me bread!"


def test_a_group_prefers_what_its_taste_prefers_and_ties_are_half() -> None:
    judges = Judges.two_tastes()
    short, kind = ("Bread, please.", True), ("Sure: Please give me some bread.", True)
    answers = {BRIEF: [short, short], KIND: [kind, short], UNNAMED: [kind, kind]}
    found = preferred(judges, [PROMPT] * 2, answers, [BRIEF, KIND])
    assert found["own_over_others"] == {BRIEF: 0.75, KIND: 0.75}, "once what each likes better, once the same"
    assert found["own_over_unnamed"] == {BRIEF: 1.0, KIND: 0.25}


def test_naming_a_group_changes_the_prompt_and_nothing_else() -> None:
    plain, named = (answered(SHIPPED, [PROMPT], group, 3) for group in (UNNAMED, BRIEF))
    assert plain == answered(SHIPPED, [PROMPT], UNNAMED, 3)
    assert plain != named


def test_the_summary_takes_each_group_over_seeds() -> None:
    runs = {
        f"policies-{seed}": {"own_over_others": {"a": share, "b": 0.9}, "words": {}, "stopped": None}
        for seed, share in enumerate((0.4, 0.5, 0.6))
    }
    found = policies(runs)
    assert found["own_over_others"]["a"]["mean"] == pytest.approx(0.5)
    assert found["own_over_others"]["a"]["low"] < 0.4
    assert found["stopped"] == [None, None, None]
