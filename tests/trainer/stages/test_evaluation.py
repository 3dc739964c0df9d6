"""The evaluation report: its figures, its comparisons, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from feedback.errors import ConfigError, DataError
from trainer.models.policies import load_policy, load_tokenizer, save_policy
from trainer.models.scalar import ScalarModel
from trainer.ppo.step import Text
from trainer.settings.evaluate import EvaluateSettings
from trainer.stages.evaluation import named_directories, run, text_loss


@pytest.fixture
def louder_dir(tiny_policy_dir: Path, tmp_path: Path) -> Path:
    """A policy that says EOS more often."""
    policy, tokenizer = load_policy(tiny_policy_dir), load_tokenizer(tiny_policy_dir)
    with torch.no_grad():
        policy.get_input_embeddings().weight[tokenizer.eos_token_id] *= 2.5
    save_policy(policy, tokenizer, tmp_path / "louder")
    return tmp_path / "louder"


def settings(policy: Path, prompts: Path, output: Path, **changes: object) -> EvaluateSettings:
    given = {
        "policy": policy, "prompts": [prompts], "output": output, "max_completion_tokens": 12, "device": "cpu",
        "bootstrap": 200, "pretraining_block_tokens": 32,
    }  # fmt: skip
    return EvaluateSettings.model_validate(given | changes)


def test_a_policy_against_itself_ties_everywhere(
    tiny_policy_dir: Path, tiny_reward_dir: Path, prompt_file: Path, tmp_path: Path
) -> None:
    report = run(
        settings(
            tiny_policy_dir, prompt_file, tmp_path / "out", against=[f"sft={tiny_policy_dir}"], reward=tiny_reward_dir
        )
    )
    assert report["win_rate"]["sft"] == {"mean": 0.5, "low": 0.5, "high": 0.5, "n": 40}
    assert report["length_ratio"]["sft"] == 1.0
    assert report["policies"]["policy"]["kl_nats"] == 0.0
    assert report["policies"]["policy"]["kl_to_parent_nats"] is None
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["win_rate"] == report["win_rate"]


def test_figures_agree_with_the_texts_and_scores_that_are_written(
    tiny_policy_dir: Path, louder_dir: Path, tiny_reward_dir: Path, prompt_file: Path, text_file: Path, tmp_path: Path
) -> None:
    report = run(
        settings(
            louder_dir,
            prompt_file,
            tmp_path / "out",
            against=[f"sft={tiny_policy_dir}"],
            parent=tiny_policy_dir,
            reward=tiny_reward_dir,
            pretraining=[text_file],
        )
    )
    rows: list[dict[str, Any]] = [
        json.loads(line) for line in (tmp_path / "out" / "completions.jsonl").read_text().splitlines()
    ]
    own = [row["completions"]["policy"] for row in rows]
    other = [row["completions"]["sft"] for row in rows]
    figures = report["policies"]["policy"]
    assert figures["eos_rate"] == pytest.approx(sum(c["finished"] for c in own) / 40)
    assert figures["eos_rate"] > report["policies"]["sft"]["eos_rate"]
    assert figures["length_tokens"] == pytest.approx(sum(len(c["token_ids"]) for c in own) / 40)
    assert figures["score_mean"] == pytest.approx(sum(c["score"] for c in own) / 40)
    wins = [0.5 if a["score"] == b["score"] else a["score"] > b["score"] for a, b in zip(own, other, strict=True)]
    rate = report["win_rate"]["sft"]
    assert rate["mean"] == pytest.approx(sum(wins) / 40)
    assert rate["low"] <= rate["mean"] <= rate["high"]
    assert figures["kl_nats"] != 0.0
    assert figures["kl_to_reference_nats"] == figures["kl_nats"] == figures["kl_to_parent_nats"]
    assert report["policies"]["sft"]["kl_nats"] == 0.0
    assert figures["pretraining_loss"] > 0
    reward, tokenizer = ScalarModel.load(tiny_reward_dir), load_tokenizer(louder_dir)
    prompt = tokenizer.apply_chat_template(rows[0]["messages"], add_generation_prompt=True, return_dict=False)
    ids = torch.tensor([prompt + own[0]["token_ids"]])
    assert reward.score(ids, torch.ones_like(ids)).item() == pytest.approx(own[0]["score"], abs=1e-4)


def test_same_seed_same_report_and_prompts_of_the_training_split_are_left_out(
    tiny_policy_dir: Path, tiny_reward_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "prompts.jsonl"
    rows = [{"id": str(n), "prompt": "Where?", "split": ("train", "valid")[n % 2]} for n in range(10)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reports = [
        run(settings(tiny_policy_dir, path, tmp_path / name, reward=tiny_reward_dir, seed=4)) for name in ("a", "b")
    ]
    assert reports[0]["prompts"] == 5
    assert reports[0]["policies"] == reports[1]["policies"]


def test_only_training_rows_are_refused(tiny_policy_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"id": "1", "prompt": "Where?", "split": "train"}) + "\n")
    with pytest.raises(DataError, match="needs held-out prompts"):
        run(settings(tiny_policy_dir, path, tmp_path / "out"))


def test_text_loss_equals_the_models_own(tiny_policy_dir: Path) -> None:
    policy = load_policy(tiny_policy_dir)
    text = torch.randint(6, 300, (7, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = policy(input_ids=text, labels=text).loss.item()
    blocks = Text(text, torch.full((7,), 16))
    assert text_loss(policy, blocks, micro_batch_tokens=40) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("option", ["runs/sft", "=runs/sft", "sft=", "policy=runs/sft"])
def test_against_must_be_a_free_name_and_a_directory(option: str) -> None:
    with pytest.raises(ConfigError, match="--against"):
        named_directories([option])
