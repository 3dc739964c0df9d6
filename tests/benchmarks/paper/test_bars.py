"""The bars take means over seeds, of the win rate the lower bound, and fail where an arm is missing."""

import json
import math
from pathlib import Path

import pytest

from benchmarks.paper import bars as this
from benchmarks.paper import page
from benchmarks.paper.bars import bars, estimates, finish
from benchmarks.paper.summary import Estimate, Results

GOOD = {
    "ptx_loss_rise": Estimate(0.01, -0.01, 0.03, (0.01,)),
    "plain_loss_rise_at_equal_gain": Estimate(0.12, 0.08, 0.16, (0.12,)),
    "plain_loss_rise_at_end": Estimate(0.2, 0.2, 0.2, (0.2,)),
    "win_rate_against_sft": Estimate(0.7, 0.62, 0.78, (0.7,)),
    "hallucination_against_base": Estimate(0.4, 0.3, 0.5, (0.4,)),
    "held_out_labelers_gap": Estimate(0.01, 0.0, 0.02, (0.01,)),
}


def test_all_bars_are_kept_by_good_figures() -> None:
    assert [bar.passed for bar in bars(dict(GOOD))] == [True] * 5


@pytest.mark.parametrize(
    ("name", "worse", "bar"),
    [
        ("ptx_loss_rise", Estimate(0.021, 0, 0, ()), 0),
        ("plain_loss_rise_at_equal_gain", Estimate(0.09, 0, 1, ()), 1),
        ("win_rate_against_sft", Estimate(0.7, 0.59, 0.8, ()), 2),
        ("win_rate_against_sft", None, 2),
        ("hallucination_against_base", Estimate(0.51, 0, 0, ()), 3),
        ("held_out_labelers_gap", Estimate(0.031, 0, 0, ()), 4),
    ],
)
def test_one_bar_is_broken_by_one_bad_figure(name: str, worse: Estimate | None, bar: int) -> None:
    assert [each.passed for each in bars({**GOOD, name: worse})] == [number != bar for number in range(5)]


def test_estimates_of_nothing_are_none() -> None:
    nothing = Results(seeds=(), figures={}, wins={}, prompt_intervals={}, series={})
    assert set(estimates(nothing).values()) == {None}
    assert all(math.isnan(bar.value) and not bar.passed for bar in bars(estimates(nothing)))


def test_estimates_are_taken_from_the_arms_that_they_name() -> None:
    figures = {"ppo-ptx": {"hallucination_rate": {"1": 0.1}}, "base": {"hallucination_rate": {"1": 0.5}}}
    for number in range(5):
        figures[f"reward-fold-{number}"] = {"own_accuracy": {"1": 0.7}, "other_accuracy": {"1": 0.68}}
    rows = {
        "ppo-ptx": [{"reward": 0.0, "pretraining_loss": 1.0}, {"reward": 1.0, "pretraining_loss": 1.01}],
        "ppo": [{"reward": 0.0, "pretraining_loss": 1.0}, {"reward": 2.0, "pretraining_loss": 1.5}],
    }
    series = {arm: {"points": {"1": each}} for arm, each in rows.items()}
    wins = {"ppo-ptx": {"sft": {"1": 0.7}}}
    found = estimates(Results(seeds=("1",), figures=figures, wins=wins, prompt_intervals={}, series=series))
    means = {name: each.mean for name, each in found.items() if each}
    assert means == pytest.approx(
        {
            "ptx_loss_rise": 0.01,
            "plain_loss_rise_at_equal_gain": 0.25,
            "plain_loss_rise_at_end": 0.5,
            "win_rate_against_sft": 0.7,
            "hallucination_against_base": 0.2,
            "held_out_labelers_gap": 0.02,
        }
    )


def test_the_report_holds_figures_bars_and_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / this.RUN_FILE).write_text('{"wall_s": 12.0}')
    nothing = Results(seeds=(), figures={}, wins={"ppo-ptx": {"sft": {"1": 0.7, "2": 0.7}}}, prompt_intervals={},
                      series={})  # fmt: skip
    monkeypatch.setattr(page, "make", lambda root, seeds, docs: nothing)
    monkeypatch.setattr("benchmarks.common.ROOT", tmp_path)
    assert finish(tmp_path, [1, 2], tmp_path) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["figures"]["run"] == {"wall_s": 12.0}
    assert told["figures"]["win_rate_against_sft"]["low"] == pytest.approx(0.7)
    assert [bar["pass"] for bar in told["bars"]] == [False, False, True, False, False]
    assert (tmp_path / "var" / "bench" / "paper.json").is_file()
