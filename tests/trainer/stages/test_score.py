"""Scoring reports the agreement that brute force finds, set by set."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from feedback.errors import ArtifactMissing
from trainer.data.reading import encode_completion, render
from trainer.data.tokens import save_tokenizer
from trainer.models.ensemble import write_members
from trainer.models.policies import load_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.settings.stages import ScoreSettings
from trainer.stages import score


@pytest.fixture
def reward_dir(tmp_path: Path, tiny_policy_dir: Path) -> Path:
    torch.manual_seed(0)
    ScalarModel.from_policy(tiny_policy_dir).save(tmp_path / "rm", load_tokenizer(tiny_policy_dir))
    return tmp_path / "rm"


def write(path: Path, prompts: int, first: int = 0) -> Path:
    rows = [
        {
            "id": str(n),
            "prompt": f"Name {n} colours",
            "responses": [{"text": f"red {n}"}, {"text": "the old owl sleeps by day"}, {"text": "blue"}],
            "comparisons": [{"a": 0, "b": 1, "winner": "b"}, {"a": 0, "b": 2, "winner": "tie"}],
        }
        for n in range(first, first + prompts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(tmp_path: Path, reward_dir: Path, *files: Path, **changes: Any) -> ScoreSettings:
    fields = {"output": tmp_path / "s", "reward_model": reward_dir, "preferences": list(files), "threads": 1}
    return ScoreSettings.model_validate(fields | changes)


def test_accuracy_is_what_single_scores_say(tmp_path: Path, reward_dir: Path) -> None:
    metrics = score.run(settings(tmp_path, reward_dir, write(tmp_path / "one.jsonl", 8), bootstrap=50))
    model, tokenizer = ScalarModel.load(reward_dir), load_tokenizer(reward_dir)
    right = 0
    for n in range(8):
        prompt = render(tokenizer, [{"role": "user", "content": f"Name {n} colours"}])
        rewards = []
        for text in (f"red {n}", "the old owl sleeps by day"):
            ids = torch.tensor([prompt + encode_completion(tokenizer, text)])
            rewards.append(float(model.score(ids, torch.ones_like(ids)).detach()))
        right += rewards[1] > rewards[0]
        row = json.loads((tmp_path / "s" / "scores.jsonl").read_text().splitlines()[n])
        assert (row["id"], row["set"]) == (str(n), "one")
        assert row["rewards"][:2] == pytest.approx(rewards, abs=1e-5)
    assert metrics["all"]["accuracy"] == right / 8
    assert metrics["all"]["always_longer"] == 1.0
    assert metrics["ties"] == 8
    assert json.loads((tmp_path / "s" / "metrics.json").read_text())["all"] == metrics["all"]


def test_several_files_are_reported_one_by_one(tmp_path: Path, reward_dir: Path) -> None:
    files = [write(tmp_path / "one.jsonl", 3), write(tmp_path / "two.jsonl", 2, first=3)]
    metrics = score.run(settings(tmp_path, reward_dir, *files, bootstrap=50))
    assert {name: found["prompts"] for name, found in metrics["by_set"].items()} == {"one": 3, "two": 2}
    assert metrics["all"]["prompts"] == 5


def test_policy_is_no_reward_model(tmp_path: Path, tiny_policy_dir: Path) -> None:
    with pytest.raises(ArtifactMissing, match="not a reward or value model"):
        score.run(settings(tmp_path, tiny_policy_dir, write(tmp_path / "one.jsonl", 3)))


def test_an_ensemble_is_scored_by_its_mean_and_each_member_is_reported(tmp_path: Path, tiny_policy_dir: Path) -> None:
    tokenizer = load_tokenizer(tiny_policy_dir)
    alone, file, factors = [], write(tmp_path / "one.jsonl", 8), [0.5, 2.0]
    members = [tmp_path / "e" / "members" / str(number) for number in range(2)]
    for number, member in enumerate(members):
        torch.manual_seed(number)
        ScalarModel.from_policy(tiny_policy_dir).save(member, tokenizer)
        score.run(settings(tmp_path, member, file, output=tmp_path / f"s{number}"))
        alone.append([json.loads(line) for line in (tmp_path / f"s{number}" / "scores.jsonl").read_text().splitlines()])
    write_members(tmp_path / "e", members, factors)
    save_tokenizer(tokenizer, tmp_path / "e")
    metrics = score.run(settings(tmp_path, tmp_path / "e", file, bootstrap=50))
    rows = [json.loads(line) for line in (tmp_path / "s" / "scores.jsonl").read_text().splitlines()]
    right = 0
    for row, first, second in zip(rows, *alone, strict=True):
        pairs = list(zip(first["rewards"], second["rewards"], strict=True))
        means = [(0.5 * a + 2.0 * b) / 2 for a, b in pairs]
        assert row["rewards"] == pytest.approx(means, abs=1e-4)
        assert row["spreads"] == pytest.approx([abs(0.5 * a - 2.0 * b) / 2**0.5 for a, b in pairs], abs=1e-4)
        right += means[1] > means[0]
    assert metrics["all"]["accuracy"] == right / 8
    assert len(metrics["ensemble"]["members"]) == 2
    assert metrics["ensemble"]["spread"]["mean"] > 0
