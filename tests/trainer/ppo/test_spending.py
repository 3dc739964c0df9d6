"""What KL a release has spent, against the policy it started from and against the reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.conftest import build_policy, build_tokenizer
from trainer.ppo.ppo import run_ppo
from trainer.settings.ppo import PpoSettings

SMALL = {
    "batch_size": 16, "minibatches": 2, "episodes": 48, "max_completion_tokens": 6, "lr": 2e-3, "value_lr": 1e-3,
    "threads": 1, "seed": 3, "device": "cpu", "warmup_iterations": 0, "ema_decay": 0.0,
}  # fmt: skip


def likes_e(messages: object, texts: Sequence[str], finished: Sequence[bool]) -> list[float]:
    return [10 * text.count("e") / (1 + len(text)) for text in texts]


@pytest.fixture
def other_dir(tmp_path: Path) -> Path:
    """A policy with other weights and the same tokenizer."""
    tokenizer = build_tokenizer()
    build_policy(tokenizer, seed=7).save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    return tmp_path / "other"


def test_a_chain_has_spent_more_than_its_last_link(
    tiny_policy_dir: Path, other_dir: Path, prompt_file: Path, tmp_path: Path
) -> None:
    given = SMALL | {"policy": tiny_policy_dir, "prompts": [prompt_file]}
    apart = given | {"reference": other_dir, "max_kl_nats": 1e4, "kl_coef": 0.0}
    first = run_ppo(PpoSettings.model_validate(given | {"output": tmp_path / "first"}), reward_fn=likes_e)
    second = run_ppo(PpoSettings.model_validate(apart | {"output": tmp_path / "second"}), reward_fn=likes_e)
    assert first["kl_to_parent_nats"] == first["kl_to_reference_nats"] > 0
    assert first["kl_budget_nats"] is None
    assert 0 < second["kl_to_parent_nats"] < 0.5 * second["kl_to_reference_nats"]
    assert json.loads((tmp_path / "second" / "metrics.json").read_text())["kl_to_parent_nats"] > 0


def test_a_run_over_one_and_a_half_times_its_budget_publishes_weights_within_it(
    tiny_policy_dir: Path, prompt_file: Path, tmp_path: Path
) -> None:
    settings = PpoSettings.model_validate(
        SMALL | {
            "output": tmp_path / "out", "policy": tiny_policy_dir, "prompts": [prompt_file], "checkpoint_every": 1,
            "episodes": 16 * 30, "kl_budget_nats": 3.0, "kl_coef": 0.0, "lr": 1e-3,
        }
    )  # fmt: skip
    metrics = run_ppo(settings, reward_fn=likes_e)
    assert "over 1.5 times the budget of 3" in metrics["stopped"]["reason"]
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    measured = {int(row["step"]) - 1: row["objective/kl"] for row in rows}
    assert measured[metrics["stopped"]["published_iteration"]] <= 4.5 < measured[metrics["stopped"]["iteration"] - 1]
    assert metrics["kl_budget_nats"] == 3.0
