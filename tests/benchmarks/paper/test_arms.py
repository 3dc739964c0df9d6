"""Every arm leaves the figures that the plan names, and is not run again while its result is valid."""

import json
from dataclasses import replace

from benchmarks.paper.arms import RESULT, Place, found, run_arm
from benchmarks.paper.plan import BY_NAME, wanted
from deploy.base import SHIPPED


def test_a_result_says_what_it_is_of(quick: Place) -> None:
    for arm in wanted(["ppo-ptx", "reward-pairs", "reward-fold-0"]):
        result = json.loads((quick.of(arm.name) / RESULT).read_text())
        assert (result["arm"], result["seed"]) == (arm.name, 7)
        assert 0 < result["cpu_s"] < 60
        assert all(isinstance(figure, int | float) for figure in result["figures"].values())


def test_policies_answer_the_same_prompts(quick: Place) -> None:
    results = [found(quick, BY_NAME[name]) for name in ("base", "sft", "start", "ppo-ptx")]
    sizes = [{name: len(each) for name, each in result["prompts"].items()} for result in results if result]
    assert sizes == 4 * [{"gold": 8, "rude": 8, "hallucinated": 4}]
    figures = [set(result["figures"]) for result in results if result]
    assert figures[0] == figures[1] == figures[2] < figures[3]
    assert {"hallucination_rate", "pretraining_loss", "task_accuracy", "task_few_shot_exact"} <= figures[0]


def test_a_valid_result_is_not_made_again(quick: Place) -> None:
    file = quick.of("sft") / RESULT
    before = file.stat().st_mtime_ns
    run_arm("sft", quick)
    assert file.stat().st_mtime_ns == before


def test_a_result_of_other_settings_is_none(quick: Place) -> None:
    arm = BY_NAME["ppo-ptx"]
    assert found(quick, arm) is not None
    assert found(quick, replace(arm, options={"clip": 0.1})) is None
    assert found(replace(quick, seed=8), arm) is None


def test_the_base_is_the_shipped_one(quick: Place) -> None:
    assert quick.policy("base") == SHIPPED
    assert (quick.policy("sft") / "model.safetensors").is_file()
