"""What a round starts from: the newest of a kind, the reward model before it, a judge of the same family."""

from typing import Any

import pytest

from feedback.errors import StageFailed
from feedback.records import RewardModel
from tests.builders import make_policy, make_reward_model
from trainer.rounds.predecessors import judge_for, newest, warm_start
from trainer.settings.service import TrainerSettings

BASE = make_policy("policy-0000", kind="base")
SFT = make_policy("policy-0001", kind="sft", parent=BASE.version)


def model(number: int, training: str = "full", policy: str = SFT.version) -> RewardModel:
    return make_reward_model(id=f"rm_{number}", metrics={"training": training, "policy": policy})


def incremental(**changes: Any) -> TrainerSettings:
    return TrainerSettings.load(reward_training="incremental", **changes)


def test_the_newest_of_a_kind_or_a_clear_word() -> None:
    later = make_policy("policy-0002", kind="sft")
    assert newest([BASE, SFT, later], "sft") == later
    with pytest.raises(StageFailed, match="no policy of kind sft is registered"):
        newest([BASE], "sft")


def test_reward_models_are_trained_in_full_unless_asked_otherwise() -> None:
    assert warm_start(TrainerSettings.load(), SFT, [model(1)]) is None
    assert warm_start(incremental(), SFT, []) is None
    assert warm_start(incremental(), SFT, [model(1), model(2)]) == model(2)


def test_every_so_many_one_is_trained_in_full() -> None:
    rules = incremental(full_reward_every=3)
    made: list[RewardModel] = []
    for number in range(8):
        before = warm_start(rules, SFT, made)
        made.append(model(number, "incremental" if before else "full"))
    kinds = [each.metrics["training"] for each in made]
    assert kinds == ["full", "incremental", "incremental"] * 2 + ["full", "incremental"]
    assert warm_start(incremental(full_reward_every=1), SFT, [model(1)]) is None


def test_another_number_of_members_is_trained_in_full() -> None:
    three = make_reward_model(id="rm_3", metrics={"training": "full", "policy": SFT.version, "members": 3})
    assert warm_start(incremental(), SFT, [three]) is None
    assert warm_start(incremental(reward_members=3), SFT, [model(1)]) is None
    assert warm_start(incremental(reward_members=3), SFT, [three]) == three


def test_after_a_new_sft_policy_or_an_unknown_one_training_is_in_full() -> None:
    newer = make_policy("policy-0005", kind="sft", parent=BASE.version)
    assert warm_start(incremental(), newer, [model(1)]) is None
    assert warm_start(incremental(), SFT, [make_reward_model(id="rm_0")]) is None, "of an earlier release"


def test_only_a_reward_model_of_the_same_family_judges_an_sft() -> None:
    other = make_policy("policy-0007", kind="base")
    models = [model(1), model(2), model(3, policy="policy-0008")]
    assert judge_for(BASE, [BASE, SFT, other], models) == model(2)
    assert judge_for(other, [BASE, SFT, other], models) is None
    assert judge_for(BASE, [BASE], []) is None
