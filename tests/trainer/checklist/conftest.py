"""A PPO run of two tiny iterations, and the table of mutations at the end of the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.checklist.break_each import TABLE
from trainer.ppo.job import PpoJob, build_job
from trainer.settings.ppo import PpoSettings

SMALL = {
    "batch_size": 8, "minibatches": 4, "episodes": 48, "max_completion_tokens": 6, "lr": 1e-3, "value_lr": 1e-3,
    "ptx_block_tokens": 16, "ptx_per_episode": 2.0, "ptx_coef": 1.0, "threads": 1, "seed": 3, "device": "cpu",
    "warmup_iterations": 2, "max_prompt_tokens": 64,
}  # fmt: skip


@pytest.fixture
def ppo_settings(
    tiny_policy_dir: Path, tiny_reward_dir: Path, prompt_file: Path, text_file: Path, tmp_path: Path
) -> Callable[..., PpoSettings]:
    """Settings of a run that takes a second."""

    def make(**changes: Any) -> PpoSettings:
        given = SMALL | {
            "output": tmp_path / "out", "policy": tiny_policy_dir, "reward": tiny_reward_dir, "prompts": [prompt_file],
            "pretraining": [text_file],
        }  # fmt: skip
        return PpoSettings.model_validate(given | changes)

    return make


@pytest.fixture
def ppo_job() -> Callable[[PpoSettings], PpoJob]:
    """The job of such settings."""

    def make(settings: PpoSettings) -> PpoJob:
        torch.manual_seed(settings.seed)
        return build_job(settings, torch.device("cpu"), needs_reward_model=settings.reward is not None)

    return make


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what became of every broken detail."""
    found = config.stash.get(TABLE, [])
    if not found:
        return
    noticed = sum(each["verdict"] == "noticed" for each in found)
    terminalreporter.section(f"the trainer's checklist: {noticed} of {len(found) - 1} broken details noticed")
    for each in found:
        terminalreporter.write_line(f"{each['verdict']:9} {each['s']:5.1f} s  {each['name']}")
