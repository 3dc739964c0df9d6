"""Kills are drawn with a seed and spread over places; ten real ones end in the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bench_resume import SHARES, draw_cases, figures, shepherd
from benchmarks.killable import SITES, Death

ROOT = Path(__file__).parents[2]
VISITS = {name: {site.name: 7 for site in SITES} for name in SHARES}
SECONDS = dict.fromkeys(SHARES, 2.0)


def test_same_seed_same_kills_and_every_kind_of_place_is_among_them() -> None:
    cases = draw_cases(200, 1, VISITS, SECONDS)
    assert cases == draw_cases(200, 1, VISITS, SECONDS) != draw_cases(200, 2, VISITS, SECONDS)
    assert len(cases) == 200
    assert {each.kind for each in cases} == {site.kind for site in SITES} | {"at a random time"}
    assert {each.scenario for each in cases} == set(SHARES)
    for each in cases:
        if isinstance(each.death, Death):
            assert 1 <= each.death.visit <= 7
        else:
            assert 0 <= each.death <= 2


def test_places_that_a_run_never_visits_are_not_drawn() -> None:
    visits = {name: {"os:fsync": 3} for name in SHARES}
    places = {each.death.site for each in draw_cases(100, 1, visits, SECONDS) if isinstance(each.death, Death)}
    assert places == {"os:fsync"}


def outcome(**changes: Any) -> dict[str, Any]:
    given = {"kind": "k", "scenario": "ppo", "equal": True, "redone_steps": 1, "restart_s": 0.5}
    return given | changes


def test_figures_count_by_kind_and_show_what_was_unequal() -> None:
    found = figures([outcome(), outcome(kind="l", redone_steps=0), outcome(equal=False, restart_s=None)])
    assert (found["kills"], found["bit_equal"], found["most_steps_redone"]) == (3, 2, 1)
    assert found["steps_redone"] == {0: 1, 1: 2}
    assert found["by_kind"]["k"] == {"kills": 2, "bit_equal": 1, "most_steps_redone": 1}
    assert len(found["unequal"]) == 1


def test_tasks_are_shared_out_and_come_back_in_order(tmp_path: Path) -> None:
    tasks = [lambda directory, n=n: [n, directory.name] for n in range(5)]
    found = shepherd(tasks, 2, tmp_path, show=False)
    assert found == [[0, "job-0"], [1, "job-1"], [2, "job-0"], [3, "job-1"], [4, "job-0"]]


@pytest.mark.slow
def test_ten_real_kills_end_in_the_same_bits_and_the_controls_do_not() -> None:
    line = [sys.executable, "-m", "benchmarks.bench_resume", "--kills", "10", "--vllm", "0", "--runs", "ppo", "sft"]
    done = subprocess.run(
        [*line, "--jobs", "1", "--seed", "3", "--controls", "1"],
        cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    for bar in found["bars"]:
        if not bar["name"].startswith("restart"):  # a time, on cores that others use
            assert bar["pass"], bar
    assert found["figures"]["bit_equal"] == 10
    assert {kind: row["noticed"] for kind, row in found["figures"]["controls"].items()} == {
        "generators not restored": 1, "torn checkpoints trusted": 1
    }  # fmt: skip
