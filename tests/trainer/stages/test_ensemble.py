"""Several reward models as one stage: its members, its scale, its report, and its end after an interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from feedback import artifacts
from feedback.errors import ConfigError, RunFinished
from trainer.maths.ensemble_report import deviation_within, scaled
from trainer.models.ensemble import RewardEnsemble, member_directories, members_of
from trainer.models.policies import load_tokenizer
from trainer.settings.stages import EnsembleSettings, RewardSettings
from trainer.stages import ensemble, reward
from trainer.stages.score import judge

WORDS = ["eats red berries.", "sleeps.", "lives in the old wood.", "hunts by night."]


def write(path: Path, first: int = 0) -> Path:
    """Forty rankings by three labelers who like berries; every fifth prompt is held out."""
    rows = [
        {
            "id": f"r{number:02d}",
            "prompt": f"What does fox {number} do?",
            "responses": [{"text": WORDS[(number + place) % 4]} for place in range(4)],
            "comparisons": [
                {"a": -number % 4, "b": other, "winner": "a", "annotator": f"l{number % 3}"}
                for other in range(4)
                if other != -number % 4
            ],
            "split": "valid" if number % 5 == 0 else "train",
        }
        for number in range(first, first + 40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def preferences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("ranked") / "p.jsonl")


def settings(output: Path, *preferences: Path, **changes: Any) -> EnsembleSettings:
    fields = {
        "output": output,
        "preferences": list(preferences),
        "threads": 1,
        "lr": 1e-3,
        "batch_size": 8,
        "epochs": 2,
    }
    return EnsembleSettings.model_validate(fields | changes)


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.relative_to(directory)}:{name}": tensor
        for path in sorted(directory.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, preferences: Path, tiny_policy_dir: Path) -> Path:
    torch.set_num_threads(1)
    output = tmp_path_factory.mktemp("made") / "e"
    ensemble.run(settings(output, preferences, policy=tiny_policy_dir))
    return output


def test_members_are_whole_reward_models_of_other_samples_and_heads(made: Path, preferences: Path) -> None:
    artifacts.verify(made)
    members = member_directories(made)
    assert [path.name for path in members] == ["0", "1", "2"]
    used = [json.loads((path / "uses.json").read_text()) for path in members]
    assert len({frozenset(each) for each in used}) == 3
    assert all(len(each) < 32 for each in used)  # a sample leaves out a third of the prompts
    found = json.loads((made / "metrics.json").read_text())
    assert found["groups"] == [sum(each.values()) // 2 for each in used]  # two epochs
    assert found["held_out"]["prompts"] == 8
    assert found["accuracy"] == found["held_out"]["accuracy"] == found["by_split"]["valid"]["accuracy"]
    assert len(found["ensemble"]["members"]) == 3


def test_every_member_differs_as_much_within_a_prompt_of_the_training_data(made: Path, preferences: Path) -> None:
    loaded, tokenizer = RewardEnsemble.load(made), load_tokenizer(made)
    read = settings(made, preferences)
    limits = ensemble.Limits(prompt_tokens=100, completion_tokens=100)
    train = reward.read_parts(read, tokenizer, limits, ensemble.Counts()).train
    own = [judge(member, train, int(tokenizer.pad_token_id), 4096) for member in members_of(loaded)]
    factors = loaded.factors_M.tolist()
    deviations = [deviation_within(scaled(each, factor)) for each, factor in zip(own, factors, strict=True)]
    assert deviations == pytest.approx([deviations[0]] * 3, rel=1e-4)
    assert deviations[0] == pytest.approx(sum(map(deviation_within, own)) / 3, rel=1e-4)
    together = judge(loaded, train, int(tokenizer.pad_token_id), 4096)
    by_hand = sum(factor * each[0].rewards[1] for factor, each in zip(factors, own, strict=True)) / 3
    assert together[0].rewards[1] == pytest.approx(by_hand, abs=1e-5)


def test_an_interrupted_run_keeps_its_finished_members_and_ends_in_the_same_bits(
    made: Path, preferences: Path, tiny_policy_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings(tmp_path / "e", preferences, policy=tiny_policy_dir)
    train, begun = reward.run, []

    def interrupted(member: RewardSettings) -> dict[str, Any]:
        begun.append(member.output.name)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return train(member)

    monkeypatch.setattr(reward, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensemble.run(given)
    first = tmp_path / "e.partial" / "result" / "members" / "0" / "model.safetensors"
    written_ns = first.stat().st_mtime_ns
    monkeypatch.setattr(reward, "run", train)
    ensemble.run(given)
    assert (tmp_path / "e" / "members" / "0" / "model.safetensors").stat().st_mtime_ns == written_ns
    whole, again = weights(made), weights(tmp_path / "e")
    assert whole.keys() == again.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
    assert (made / "ensemble.json").read_text() == (tmp_path / "e" / "ensemble.json").read_text()
    with pytest.raises(RunFinished):
        ensemble.run(given)


def test_each_member_goes_on_with_its_own(
    made: Path, preferences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Path | None] = []
    train = reward.run

    def noted(member: RewardSettings) -> dict[str, Any]:
        begun.append(member.init_reward)
        return train(member)

    monkeypatch.setattr(reward, "run", noted)
    given = {"init_reward": made, "incremental": True, "epochs": 1, "members": 2}
    more = write(tmp_path / "more.jsonl", first=40)
    ensemble.run(settings(tmp_path / "on", preferences, more, **given))
    assert begun == member_directories(made)[:2]
    for number in range(2):
        before, after = (json.loads((at / f"members/{number}/uses.json").read_text()) for at in (made, tmp_path / "on"))
        fresh = after.keys() - before.keys()
        assert fresh
        assert all(int(key[1:].split("#")[0]) >= 40 for key in fresh)
    with pytest.raises(ConfigError, match=r"--members 4: .* has 3 to go on with"):
        ensemble.run(settings(tmp_path / "more", preferences, init_reward=made, members=4))
