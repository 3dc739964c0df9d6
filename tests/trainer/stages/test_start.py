"""The start of PPO: two epochs, a tenth of text, the last epoch kept, and no reward model anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from feedback import artifacts
from feedback.errors import ConfigError
from trainer.models.policies import load_policy
from trainer.settings.presets import resolve
from trainer.settings.stages import StartSettings
from trainer.stages import start

ANSWERS = ["red", "green and blue.", "the fox.", "In the wood.", "by night"]


@pytest.fixture
def given(tmp_path: Path, tiny_policy_dir: Path, text_file: Path) -> dict[str, object]:
    rows = [{"id": str(n), "prompt": f"Question {n}?", "response": ANSWERS[n % 5]} for n in range(60)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "output": tmp_path / "start", "policy": tiny_policy_dir, "demonstrations": [tmp_path / "d.jsonl"],
        "text": [text_file], "text_block_tokens": 32, "batch_size": 10, "threads": 1, "lr": 1e-2,
        "max_prompt_tokens": 64, "max_completion_tokens": 24,
    }  # fmt: skip


def test_a_start_takes_two_epochs_and_keeps_the_last_whatever_validation_says(given: dict[str, object]) -> None:
    settings = resolve("start", StartSettings, "paper", given)
    metrics = start.run(settings)
    # Of ten sequences of a batch, one is text and nine are demonstrations.
    assert metrics["steps"] == 2 * -(-metrics["demonstrations"] // 9)
    assert metrics["selected_by"] == "last epoch"
    assert metrics["selected_epoch"] == 2
    assert metrics["validation_demonstrations"] > 0
    lines = [json.loads(line) for line in (settings.output / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[-1]["text_loss"] < lines[0]["text_loss"]
    assert 0 < metrics["validation_loss"] < lines[0]["loss"]
    artifacts.verify(settings.output)
    assert not load_policy(settings.output).training


def test_a_start_is_not_selected_by_anything(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="--reward-model"):
        resolve("start", StartSettings, "paper", given | {"reward_model": "rm"})
