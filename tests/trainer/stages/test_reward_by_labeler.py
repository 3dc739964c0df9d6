"""The reward stage where labelers differ: left out, contrary, or of groups with tastes of their own."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from feedback import artifacts
from feedback.errors import ConfigError
from tests.trainer.stages.test_reward import settings, write_preferences
from trainer.stages import reward
from trainer.stages.kwise import KwiseGradient


def test_labelers_who_are_left_out_are_reported_by_themselves(tmp_path: Path, tiny_policy_dir: Path) -> None:
    rows = [json.loads(line) for line in write_preferences(tmp_path / "p.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        for judgement in row["comparisons"]:
            judgement["annotator"] = "ann" if number % 3 == 1 else "bob"
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics = reward.run(
        settings(tmp_path, policy=tiny_policy_dir, batch_size=6, exclude_labelers=["ann"], max_steps=2)
    )
    assert metrics["groups"] == 60 - 20 - 4
    assert metrics["by_split"]["excluded"]["prompts"] == 20
    assert metrics["held_out"]["prompts"] == metrics["by_split"]["valid"]["prompts"] == 4


def write_labeled(path: Path, contrary: str = "eve") -> Path:
    """Rankings of four people who like berries, one of whom says the opposite; held-out rows are honest."""
    generator = random.Random(1)
    rows = []
    for number in range(240):
        texts = ["eats red berries.", "sleeps.", "lives in the old wood.", "hunts by night."]
        generator.shuffle(texts)
        best, who = texts.index("eats red berries."), ("ann", "bob", "cal", "eve")[number % 4]
        valid = number % 8 == 0
        won = "b" if who == contrary and not valid else "a"
        said = [{"a": best, "b": n, "winner": won, "annotator": who} for n in range(4) if n != best]
        row = {"id": str(number), "prompt": f"What does fox {number} do?", "split": "valid" if valid else "train"}
        rows.append(row | {"responses": [{"text": text} for text in texts], "comparisons": said})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_labeler_who_says_the_opposite_is_named_and_a_killed_run_knows_it_to_the_bit(
    tmp_path: Path, tiny_policy_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_labeled(tmp_path / "p.jsonl")
    options = {"policy": tiny_policy_dir, "batch_size": 6, "labeler_model": "bias", "checkpoint_every": 10}
    found = reward.run(settings(tmp_path, output=tmp_path / "whole", **options))
    assert found["labelers"]["adversarial"] == ["eve"]
    assert found["accuracy"] == 1.0
    artifacts.verify(tmp_path / "whole")
    original = KwiseGradient.__call__

    def fail_late(self: Any) -> dict[str, float]:
        if self.order.cursor == 27:
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(KwiseGradient, "__call__", fail_late)
    with pytest.raises(KeyboardInterrupt):
        reward.run(settings(tmp_path, output=tmp_path / "resumed", **options))
    monkeypatch.setattr(KwiseGradient, "__call__", original)
    reward.run(settings(tmp_path, output=tmp_path / "resumed", **options))
    for name in ("model.safetensors", "scalar_head.safetensors", "labelers.json", "items.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes(), name


def test_a_conditioned_model_knows_both_of_two_opposite_tastes_and_an_unconditioned_one_neither(
    tmp_path: Path, tiny_policy_dir: Path
) -> None:
    generator = random.Random(2)
    rows = []
    for number in range(300):
        texts = ["eats red berries.", "sleeps.", "hunts by night."]
        generator.shuffle(texts)
        group = ("friends", "foes")[number % 2]
        other = texts.index("eats red berries.")
        said = [{"a": other, "b": n, "winner": "a" if group == "friends" else "b"} for n in range(3) if n != other]
        row = {"id": str(number), "prompt": f"Fox {number}?", "split": "valid" if number % 10 < 2 else "train"}
        responses = [{"text": text} for text in texts]
        rows.append(row | {"responses": responses, "comparisons": said, "labeler_group": group})
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"policy": tiny_policy_dir, "batch_size": 6, "epochs": 3, "lr": 3e-3}
    with_name = reward.run(settings(tmp_path, output=tmp_path / "with", condition="group", **options))
    without = reward.run(settings(tmp_path, output=tmp_path / "without", **options))
    for group in ("friends", "foes"):
        assert with_name["by_labeler_group"][group]["accuracy"] > 0.9
    assert without["accuracy"] < 0.7
    assert with_name["unnamed"]["accuracy"] < 0.7, "nobody's taste in particular"
    write_labeled(tmp_path / "p.jsonl")
    with pytest.raises(ConfigError, match="has a `labeler_group`"):
        reward.run(settings(tmp_path, output=tmp_path / "none", condition="group", **options))
