"""What a PPO run loads and refuses, and the order of its prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from feedback.errors import ConfigError, DataError
from trainer.models.scalar import ScalarModel
from trainer.ppo.job import build_job, epoch_order
from trainer.settings.ppo import PpoSettings

CPU = torch.device("cpu")


def settings(policy: Path, prompts: Path, **changes: object) -> PpoSettings:
    given = {"output": "o", "policy": policy, "prompts": [prompts], "batch_size": 16, "episodes": 16}
    return PpoSettings.model_validate(given | changes)


def test_every_prompt_comes_once_an_epoch_and_every_epoch_differs() -> None:
    order = epoch_order(7, 0, 21, seed=1)
    epochs = [order[n : n + 7] for n in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert [epoch_order(7, start, 3, seed=1) for start in (0, 3, 6)] == [order[0:3], order[3:6], order[6:9]]
    assert order != epoch_order(7, 0, 21, seed=2)


def test_the_value_model_begins_as_the_reward_model_and_shares_nothing_with_it(
    tiny_policy_dir: Path, tiny_reward_dir: Path, prompt_file: Path
) -> None:
    job = build_job(settings(tiny_policy_dir, prompt_file, reward=tiny_reward_dir), CPU, needs_reward_model=True)
    assert job.reward is not None
    value, reward = job.learner.value.state_dict(), job.reward.state_dict()
    assert all(torch.equal(value[name], reward[name]) for name in reward)
    assert not {t.data_ptr() for t in value.values()} & {t.data_ptr() for t in reward.values()}
    assert not any(p.requires_grad for p in job.reward.parameters())
    assert not any(p.requires_grad for p in job.reference.parameters())


def test_a_given_value_model_is_used_instead(
    tiny_policy_dir: Path, tiny_reward_dir: Path, prompt_file: Path, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    other = ScalarModel.from_policy(tiny_policy_dir)
    other.save(tmp_path / "value")
    given = settings(tiny_policy_dir, prompt_file, reward=tiny_reward_dir, value=tmp_path / "value")
    job = build_job(given, CPU, needs_reward_model=True)
    assert torch.equal(job.learner.value.head.weight, other.head.weight)


def test_without_anything_that_scores_the_run_is_refused(tiny_policy_dir: Path, prompt_file: Path) -> None:
    with pytest.raises(ConfigError, match="--reward is required"):
        build_job(settings(tiny_policy_dir, prompt_file), CPU, needs_reward_model=True)


def test_held_out_prompts_are_never_trained_on(tiny_policy_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    rows = [{"id": s, "prompt": "Where?", "split": s} for s in ("train", "valid", "test")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = build_job(settings(tiny_policy_dir, path), CPU, needs_reward_model=False)
    assert [prompt.id for prompt in job.prompts] == ["train"]
    path.write_text(json.dumps(rows[1]) + "\n")
    with pytest.raises(DataError, match="every prompt is held out"):
        build_job(settings(tiny_policy_dir, path), CPU, needs_reward_model=False)


def test_prompts_name_the_labeler_groups_that_a_policy_is_conditioned_on(
    tiny_policy_dir: Path, prompt_file: Path
) -> None:
    def named(*groups: str) -> list[str]:
        job = build_job(settings(tiny_policy_dir, prompt_file, condition_on=groups), CPU, needs_reward_model=False)
        return [prompt.messages[0]["content"] for prompt in job.prompts]

    assert set(named("foes", "friends")) == {"For foes.", "For friends."}
    assert set(named("foes")) == {"For foes."}
    assert not any(text.startswith("For ") for text in named())


def test_models_with_other_tokenizers_are_refused(tiny_policy_dir: Path, prompt_file: Path, tmp_path: Path) -> None:
    odd = AutoTokenizer.from_pretrained(tiny_policy_dir)
    odd.add_tokens(["<extra>"])
    odd.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="vocabulary differ"):
        build_job(settings(tiny_policy_dir, prompt_file, reference=tmp_path), CPU, needs_reward_model=False)
