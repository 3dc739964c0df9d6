"""Means, intervals and comparisons over seeds, against values worked out by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.paper.summary import (
    Estimate,
    Results,
    collect,
    estimate,
    minus,
    most_gain,
    outcomes,
    prompt_interval,
    ratio,
    read,
    value_at_gain,
    write,
)


def test_the_interval_is_students_t_over_seeds() -> None:
    found = Estimate.of([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)  # the 97.5 % quantile with two degrees of freedom; the deviation is 1
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, 2 - half, 2 + half))


def test_one_seed_has_no_interval_and_none_no_estimate() -> None:
    assert math.isnan(Estimate.of([0.7]).low)
    assert estimate({}) is None
    with pytest.raises(ValueError, match="no value"):
        Estimate.of([])


def test_differences_and_quotients_are_of_the_seeds_that_both_have() -> None:
    one, other = {"1": 4.0, "2": 6.0, "3": 1.0}, {"1": 1.0, "2": 3.0, "4": 1.0}
    assert minus(one, other) == {"1": 3.0, "2": 3.0}
    assert ratio(one, other | {"3": 0.0}) == {"1": 4.0, "2": 2.0}


def test_a_prompt_is_won_tied_or_lost() -> None:
    assert outcomes([1.0, 2.0, 0.0], [0.5, 2.0, 1.0]).tolist() == [1.0, 0.5, 0.0]
    with pytest.raises(ValueError, match="different numbers of prompts"):
        outcomes([1.0], [1.0, 2.0])


def test_the_interval_over_prompts_shrinks_with_their_number() -> None:
    few, many = (prompt_interval([np.resize([0.0, 1.0], count)] * 3) for count in (20, 320))
    assert few[0] < many[0] < 0.5 < many[1] < few[1]
    assert few[1] - few[0] == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 60), rel=0.1)


def test_values_are_read_off_where_a_run_first_gains_so_much() -> None:
    points = [{"reward": reward, "loss": loss} for reward, loss in ((1.0, 10.0), (2.0, 12.0), (1.5, 20.0), (3.0, 30.0))]
    assert value_at_gain(points, "reward", 0.5, "loss") == 11.0
    assert value_at_gain(points, "reward", 1.0, "loss") == 12.0
    assert value_at_gain(points, "reward", 1.5, "loss") == pytest.approx(20 + 10 * 2 / 3)
    assert value_at_gain(points, "reward", most_gain(points, "reward"), "loss") == 30.0
    assert value_at_gain(points, "reward", -1.0, "loss") == 10.0
    assert value_at_gain(points, "reward", 2.1, "loss") is None


def test_figures_series_and_win_rates_are_collected(made_up_results: Results, made_up_root: Path) -> None:
    assert made_up_results.seeds == ("1", "2", "3")
    assert made_up_results.figure("ppo", "gold_mean") == {"1": 0.8, "2": 0.8, "3": 0.8}
    assert len(made_up_results.rows("ppo", "points")["2"]) == 21
    assert "training" not in made_up_results.series["ppo"]
    result = {arm: json.loads((made_up_root / f"seed-2/{arm}/result.json").read_text()) for arm in ("ppo", "sft")}
    scores = zip(result["ppo"]["prompts"]["gold"], result["sft"]["prompts"]["gold"], strict=True)
    won = [one > other for one, other in scores]
    assert made_up_results.wins["ppo"]["sft"]["2"] == pytest.approx(sum(won) / len(won))
    assert "sft" not in made_up_results.wins["sft"]
    assert made_up_results.win_rate("reward", "sft") is None
    low, high = made_up_results.prompt_intervals["ppo"]["sft"]
    rate = made_up_results.win_rate("ppo", "sft")
    assert rate is not None
    assert low < rate.mean < high


def test_only_the_seeds_asked_for_are_read_and_one_must_be_there(made_up_root: Path) -> None:
    assert collect(made_up_root, (3,)).seeds == ("3",)
    with pytest.raises(FileNotFoundError, match="make paper"):
        collect(made_up_root, (9,))


def test_what_is_stored_is_read_back(made_up_results: Results, tmp_path: Path) -> None:
    write(made_up_results, tmp_path / "paper.json")
    again = read(tmp_path / "paper.json")
    assert again.seeds == made_up_results.seeds
    assert again.figure("ppo-ptx", "rude_rate") == pytest.approx(
        made_up_results.figure("ppo-ptx", "rude_rate"), rel=1e-4
    )
    assert again.prompt_intervals["ppo"]["sft"] == pytest.approx(
        made_up_results.prompt_intervals["ppo"]["sft"], rel=1e-4
    )
    write(again, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "paper.json").read_bytes()
