"""Disagreement of reward models: the figure by hand, and the stage on real models and files."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from feedback.errors import ArtifactMissing, DataError
from trainer.data.reading import encode_completion, render
from trainer.models.policies import load_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.settings.stages import DisagreeSettings
from trainer.stages import disagreement


def test_one_model_is_least_sure_where_its_rewards_are_equal() -> None:
    assert disagreement.disagreement([[0.3, 0.3, 0.3]]) == 1.0
    assert disagreement.disagreement([[100.0, 0.0, -100.0]]) < 1e-6
    chance = 1 / (1 + math.exp(-1.0))
    bits = -(chance * math.log2(chance) + (1 - chance) * math.log2(1 - chance))
    assert disagreement.disagreement([[1.0, 0.0]]) == pytest.approx(bits, abs=1e-6)


def test_two_models_disagree_as_far_as_their_preferences_are_apart() -> None:
    assert disagreement.disagreement([[1.0, 0.0, 2.0], [3.0, 2.0, 4.0]]) == 0.0, "only differences count"
    assert disagreement.disagreement([[50.0, 0.0], [0.0, 50.0]]) == 1.0
    new, old = 1 / (1 + math.exp(-2.0)), 1 / (1 + math.exp(1.0))
    assert disagreement.disagreement([[2.0, 0.0], [0.0, 1.0]]) == pytest.approx(new - old, abs=1e-6)


def test_rewards_beyond_all_bounds_are_no_error() -> None:
    assert disagreement.disagreement([[1e6, -1e6]]) < 1e-6
    assert disagreement.disagreement([[1e6, -1e6], [-1e6, 1e6]]) == 1.0


def model(directory: Path, policy: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    ScalarModel.from_policy(policy).save(directory, load_tokenizer(policy))
    return directory


def write(path: Path, prompts: int) -> Path:
    rows = [
        {
            "id": f"cmp_{n}",
            "messages": [{"role": "user", "content": f"Name {n} colours" + " please" * (200 * (n == 1))}],
            "responses": [{"text": f"red {n}", "finished": True}, {"text": "blue", "finished": True}],
            "comparisons": [],
        }
        for n in range(prompts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(tmp_path: Path, models: list[Path], **changes: Any) -> DisagreeSettings:
    fields = {"output": tmp_path / "d", "reward_models": models, "comparisons": [tmp_path / "c.jsonl"], "threads": 1}
    return DisagreeSettings.model_validate(fields | changes)


def rewards(directory: Path, number: int) -> list[float]:
    scalar, tokenizer = ScalarModel.load(directory), load_tokenizer(directory)
    prompt = render(tokenizer, [{"role": "user", "content": f"Name {number} colours"}])
    found = []
    for text in (f"red {number}", "blue"):
        ids = torch.tensor([prompt + encode_completion(tokenizer, text)])
        found.append(float(scalar.score(ids, torch.ones_like(ids)).detach()))
    return found


def test_the_stage_finds_what_single_scores_say_and_leaves_out_what_is_too_long(
    tmp_path: Path, tiny_policy_dir: Path
) -> None:
    models = [model(tmp_path / f"rm{seed}", tiny_policy_dir, seed) for seed in (1, 2)]
    write(tmp_path / "c.jsonl", 4)
    metrics = disagreement.run(settings(tmp_path, models))
    figures = json.loads((tmp_path / "d" / "disagreement.json").read_text())
    assert set(figures) == {"cmp_0", "cmp_2", "cmp_3"}
    assert (metrics["models"], metrics["comparisons"]) == (2, 3)
    for number in (0, 2, 3):
        expected = disagreement.disagreement([rewards(each, number) for each in models])
        assert figures[f"cmp_{number}"] == pytest.approx(expected, abs=1e-4)
    assert max(figures.values()) > 0


def test_one_model_is_enough(tmp_path: Path, tiny_policy_dir: Path) -> None:
    write(tmp_path / "c.jsonl", 1)
    metrics = disagreement.run(settings(tmp_path, [model(tmp_path / "rm", tiny_policy_dir, 1)]))
    assert (metrics["models"], metrics["comparisons"]) == (1, 1)
    assert 0 <= metrics["mean"] <= 1


def test_a_missing_model_and_an_empty_file_are_said(tmp_path: Path, tiny_policy_dir: Path) -> None:
    write(tmp_path / "c.jsonl", 1)
    with pytest.raises(ArtifactMissing):
        disagreement.run(settings(tmp_path, [tmp_path / "nowhere"]))
    (tmp_path / "c.jsonl").write_text("")
    with pytest.raises(DataError, match="no usable preferences"):
        disagreement.run(settings(tmp_path, [model(tmp_path / "rm", tiny_policy_dir, 1)], output=tmp_path / "e"))
