"""The K-wise reward model: gradient against all pairs, equal prompts, clean splits, and real rankings."""

import gzip
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from feedback import artifacts
from feedback.errors import ArtifactError, ArtifactMissing, ConfigError, DataError, Diverged
from trainer.data.batches import pad
from trainer.data.replay import Usage
from trainer.models.normalisation import score_sequences
from trainer.models.policies import load_policy, load_tokenizer, save_policy
from trainer.models.scalar import ScalarModel
from trainer.models.tie_parameter import TieParameter
from trainer.settings.stages import RewardSettings
from trainer.stages import reward
from trainer.stages.kwise import KwiseGradient


def settings(tmp_path: Path, **changes: Any) -> RewardSettings:
    fields = {"output": tmp_path / "rm", "preferences": [tmp_path / "p.jsonl"], "threads": 1, "lr": 1e-3}
    return RewardSettings.model_validate(fields | changes)


def test_a_padded_batch_scores_like_single_sequences(tiny_policy_dir: Path) -> None:
    model = ScalarModel.from_policy(tiny_policy_dir)
    sequences = [[1, 5, 2], [1, 5, 6, 7, 8, 2], [1, 9, 9, 2]]
    batch = pad(sequences, 0)
    with torch.no_grad():
        rewards = model.score(batch.input_ids_BT, batch.attention_mask_BT).tolist()
    assert rewards == pytest.approx(score_sequences(model, sequences, 0, 1), abs=1e-5)


def write_preferences(path: Path, prompts: int = 60) -> Path:
    """Rankings of labelers who like berries; every tenth prompt is held out, some by held-out labelers."""
    generator = random.Random(0)
    rows = []
    for number in range(prompts):
        texts = ["eats red berries.", "sleeps.", "lives in the old wood.", "hunts by night."]
        generator.shuffle(texts)
        best = texts.index("eats red berries.")
        rows.append(
            {
                "id": str(number),
                "prompt": f"What does fox {number} do?",
                "responses": [{"text": text} for text in texts],
                "comparisons": [
                    {"a": best, "b": other, "winner": "a"}
                    if other != 3 - best
                    else {"a": best, "b": other, "winner": "tie"}
                    for other in range(4)
                    if other != best
                ],
                "split": "valid" if number % 10 == 0 else "train",
                "labeler_group": "held-out" if number % 20 == 0 else "training",
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_stage_learns_what_labelers_like_and_reports_it(tmp_path: Path, tiny_policy_dir: Path) -> None:
    write_preferences(tmp_path / "p.jsonl")
    demonstrations = tmp_path / "d.jsonl"
    demonstrations.write_text('{"prompt": "What?", "response": "lives."}\n{"prompt": "Who?", "response": "the owl"}\n')
    run = settings(tmp_path, policy=tiny_policy_dir, demonstrations=[demonstrations], batch_size=6, epochs=4)
    metrics = reward.run(run)
    assert metrics["held_out"]["accuracy"] == 1.0
    padded = reward.run(run.model_copy(update={"output": tmp_path / "padded", "packed": False}))
    assert padded["train_loss"] == pytest.approx(metrics["train_loss"], abs=1e-4)
    assert padded["train_tokens"] > metrics["train_tokens"], "each prompt once, or once for each completion"
    assert metrics["by_labeler_group"]["held-out"]["prompts"] == 3
    assert metrics["by_set"].keys() == {"p"}
    assert metrics["ties"] == 54
    assert metrics["steps"] == 4 * 9
    artifacts.verify(tmp_path / "rm")
    model, tokenizer = ScalarModel.load(tmp_path / "rm"), load_tokenizer(tmp_path / "rm")
    from trainer.data.reading import Limits, read_demonstrations

    found = read_demonstrations([demonstrations], tokenizer, Limits())
    scores = score_sequences(model, [each.prompt_ids + each.completion_ids for each in found], 0)
    assert abs(sum(scores) / len(scores)) < 1e-4


@pytest.mark.parametrize("kind", ["davidson", "rao-kupper"])
def test_ties_are_learned_from_if_asked_for(tmp_path: Path, tiny_policy_dir: Path, kind: str) -> None:
    write_preferences(tmp_path / "p.jsonl")
    options = {"policy": tiny_policy_dir, "batch_size": 6, "epochs": 4, "ties": kind}
    metrics = reward.run(settings(tmp_path, **options))
    assert metrics["held_out"]["accuracy"] == 1.0
    found = metrics["held_out_ties"]
    assert found["judgements"] == 6 * 3
    assert found["observed"] == pytest.approx(1 / 3)
    assert abs(found["predicted"] - found["observed"]) < 0.15
    tie = TieParameter.load(tmp_path / "rm")
    assert tie is not None
    assert tie.model == kind
    artifacts.verify(tmp_path / "rm")
    onward = settings(
        tmp_path, init_reward=tmp_path / "rm", output=tmp_path / "rm2", ties=kind, max_steps=1, tie_rate=1e-6
    )
    reward.run(onward)
    again = TieParameter.load(tmp_path / "rm2")
    assert again is not None
    assert abs(again.value - tie.value) <= 1e-6, "it goes on where it was"


@pytest.mark.parametrize("planted", [True, False])
def test_labelers_who_count_words_leave_a_length_bias_that_is_reported(
    tmp_path: Path, tiny_policy_dir: Path, planted: bool
) -> None:
    generator = random.Random(0)
    rows = []
    for number in range(90):
        words = [generator.randint(1, 8) for _ in range(4)]
        texts = [" ".join(["berries" if generator.random() < 0.5 else "wood"] + ["owl"] * (n - 1)) for n in words]
        liked = [text.startswith("berries") for text in texts]
        valid = number % 3 == 0
        by = words if planted and not valid else liked
        pairs = [{"a": a, "b": b, "winner": "a"} for a in range(4) for b in range(4) if by[a] > by[b]]
        if pairs:
            row = {"id": str(number), "prompt": f"Fox {number}?", "split": "valid" if valid else "train"}
            rows.append(row | {"responses": [{"text": text} for text in texts], "comparisons": pairs})
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = reward.run(settings(tmp_path, policy=tiny_policy_dir, batch_size=6, epochs=4))["held_out"]
    assert (found["length_bias_low"] > 0) == planted
    assert (found["length_spearman_within_prompts"] > 0.6) == planted


def test_killed_run_ends_bit_equal_to_an_uninterrupted_one(
    tmp_path: Path, tiny_policy_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_preferences(tmp_path / "p.jsonl", 30)
    options = {"policy": tiny_policy_dir, "batch_size": 5, "checkpoint_every": 2}
    reward.run(settings(tmp_path, output=tmp_path / "whole", **options))
    calls = []
    original = KwiseGradient.__call__

    def fail_at_the_fourth(self: Any) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(KwiseGradient, "__call__", fail_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        reward.run(settings(tmp_path, output=tmp_path / "resumed", **options))
    assert not (tmp_path / "resumed").exists()
    reward.run(settings(tmp_path, output=tmp_path / "resumed", **options))
    assert len(calls) == 4 + 4  # steps 3 to 6 of 6 were taken in the second process
    for name in ("model.safetensors", "scalar_head.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes()


def test_warm_start_goes_on_with_a_reward_model(tmp_path: Path, tiny_policy_dir: Path) -> None:
    write_preferences(tmp_path / "p.jsonl")
    first = reward.run(settings(tmp_path, policy=tiny_policy_dir, batch_size=6, epochs=4))
    again = settings(tmp_path, init_reward=tmp_path / "rm", output=tmp_path / "rm2", batch_size=6, max_steps=1, lr=1e-9)
    second = reward.run(again)
    assert second["held_out"]["accuracy"] == first["held_out"]["accuracy"] == 1.0


def test_incremental_runs_take_fresh_comparisons_once_and_a_sample_of_old_ones(
    tmp_path: Path, tiny_policy_dir: Path
) -> None:
    rows = write_preferences(tmp_path / "all.jsonl", 60).read_text().splitlines(keepends=True)
    file, options = tmp_path / "p.jsonl", {"batch_size": 6, "valid_fraction": 0.0}
    file.write_text("".join(rows[:20]))
    reward.run(settings(tmp_path, output=tmp_path / "rm0", policy=tiny_policy_dir, **options))
    first = Usage.load(tmp_path / "rm0")
    assert set(first.uses.values()) == {1}
    assert len(first.uses) == 18
    for number, upto in ((1, 40), (2, 60)):
        file.write_text("".join(rows[:upto]))
        before = Usage.load(tmp_path / f"rm{number - 1}")
        again = settings(
            tmp_path, init_reward=tmp_path / f"rm{number - 1}", output=tmp_path / f"rm{number}", incremental=True,
            replay=0.5, **options,
        )  # fmt: skip
        metrics = reward.run(again)
        assert (metrics["fresh_groups"], metrics["replayed_groups"], metrics["steps"]) == (18, 9, 5)
        after = Usage.load(tmp_path / f"rm{number}")
        assert sum(after.uses.values()) == sum(before.uses.values()) + 27
        assert all(after.uses[key] >= count for key, count in before.uses.items())
        artifacts.verify(tmp_path / f"rm{number}")
    with pytest.raises(DataError, match="no fresh comparison"):
        reward.run(again.model_copy(update={"init_reward": tmp_path / "rm2", "output": tmp_path / "rm3"}))


def test_a_killed_incremental_run_draws_the_same_sample_and_ends_bit_equal(
    tmp_path: Path, tiny_policy_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = write_preferences(tmp_path / "all.jsonl", 60).read_text().splitlines(keepends=True)
    (tmp_path / "p.jsonl").write_text("".join(rows[:40]))
    reward.run(settings(tmp_path, output=tmp_path / "first", policy=tiny_policy_dir, batch_size=6))
    (tmp_path / "p.jsonl").write_text("".join(rows))
    options = {
        "init_reward": tmp_path / "first", "incremental": True, "replay": 0.7, "batch_size": 5, "checkpoint_every": 2
    }  # fmt: skip
    reward.run(settings(tmp_path, output=tmp_path / "whole", **options))
    original = KwiseGradient.__call__

    def fail_at_the_fourth(self: Any) -> dict[str, float]:
        if self.order.cursor == 3:
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(KwiseGradient, "__call__", fail_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        reward.run(settings(tmp_path, output=tmp_path / "resumed", **options))
    monkeypatch.setattr(KwiseGradient, "__call__", original)
    reward.run(settings(tmp_path, output=tmp_path / "resumed", **options))
    for name in ("model.safetensors", "scalar_head.safetensors", "uses.json", "first_used.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes(), name


def test_the_rate_of_an_incremental_run_may_stay_up_and_that_of_any_other_falls(
    tmp_path: Path, tiny_policy_dir: Path
) -> None:
    rows = write_preferences(tmp_path / "all.jsonl", 40).read_text().splitlines(keepends=True)
    file, options = tmp_path / "p.jsonl", {"batch_size": 6, "incremental_lr_floor": 1.0}
    file.write_text("".join(rows[:20]))
    reward.run(settings(tmp_path, output=tmp_path / "rm0", policy=tiny_policy_dir, **options))
    file.write_text("".join(rows))
    onward = {"init_reward": tmp_path / "rm0", "incremental": True}
    reward.run(settings(tmp_path, output=tmp_path / "rm1", **onward, **options))
    reward.run(settings(tmp_path, output=tmp_path / "rm2", **onward, **options | {"incremental_lr_floor": 0.5}))
    rates = {name: _rates(tmp_path / name) for name in ("rm0", "rm1", "rm2")}
    assert len(rates["rm1"]) == len(rates["rm2"]) == 4
    assert [rates["rm0"][0], rates["rm0"][-1]] == pytest.approx([1e-3, 1e-4])
    assert rates["rm1"] == pytest.approx([1e-3] * 4)
    assert [rates["rm2"][0], rates["rm2"][-1]] == pytest.approx([1e-3, 5e-4])


def _rates(output: Path) -> list[float]:
    return [json.loads(line)["lr"] for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_incremental_runs_need_a_record_of_what_was_seen(tmp_path: Path, tiny_policy_dir: Path) -> None:
    write_preferences(tmp_path / "p.jsonl", 20)
    reward.run(settings(tmp_path, output=tmp_path / "old", policy=tiny_policy_dir, max_steps=1))
    (tmp_path / "old" / "uses.json").unlink()
    with pytest.raises(ArtifactMissing, match="train it anew"):
        reward.run(settings(tmp_path, init_reward=tmp_path / "old", incremental=True))
    with pytest.raises(ConfigError, match="--init-reward"):
        reward.run(settings(tmp_path, policy=tiny_policy_dir, incremental=True))
    with pytest.raises(ConfigError, match="one pass"):
        reward.run(settings(tmp_path, init_reward=tmp_path / "old", incremental=True, epochs=2))


def test_start_must_be_named_once(tmp_path: Path, tiny_policy_dir: Path) -> None:
    with pytest.raises(ConfigError, match="either --policy"):
        reward.run(settings(tmp_path))
    with pytest.raises(ConfigError, match="either --policy"):
        reward.run(settings(tmp_path, policy=tiny_policy_dir, init_reward=tiny_policy_dir))


def test_weights_that_are_no_numbers_stop_the_run_at_its_first_step(tmp_path: Path, tiny_policy_dir: Path) -> None:
    write_preferences(tmp_path / "p.jsonl")
    policy = load_policy(tiny_policy_dir)
    policy.get_input_embeddings().weight.data[:] = math.nan
    save_policy(policy, load_tokenizer(tiny_policy_dir), tmp_path / "broken")
    with pytest.raises(Diverged, match=r"reward step 0: loss is nan"):
        reward.run(settings(tmp_path, policy=tmp_path / "broken", checkpoint_every=0))
    assert not (tmp_path / "rm").exists()


def test_output_in_the_way_is_refused_before_any_work(tmp_path: Path, tiny_policy_dir: Path) -> None:
    (tmp_path / "rm").mkdir()
    (tmp_path / "rm" / "precious").write_text("x")
    with pytest.raises(ArtifactError, match="not empty"):
        reward.run(settings(tmp_path, policy=tiny_policy_dir))


@pytest.mark.filterwarnings("ignore:.*no padding token")
def test_real_rankings_train_a_real_model(tmp_path: Path, data_root: Path, stories_dir: Path) -> None:
    files = []
    for name in ("pref-qa-feedback-k4", "pref-oasst-ranked"):
        lines = gzip.decompress((data_root / name / "comparisons.jsonl.gz").read_bytes()).splitlines(keepends=True)
        files.append(tmp_path / f"{name}.jsonl.gz")
        files[-1].write_bytes(gzip.compress(b"".join(lines[:60])))
    metrics = reward.run(
        settings(
            tmp_path, policy=stories_dir, preferences=files, batch_size=8, max_steps=4,
            max_prompt_tokens=64, max_completion_tokens=48,
        )
    )  # fmt: skip
    assert metrics["steps"] == 4
    assert metrics["by_set"].keys() == {"pref-qa-feedback-k4", "pref-oasst-ranked"}
    assert metrics["zero_point"] == "training completions"
    assert 0.3 < metrics["held_out"]["accuracy"] < 0.8
    assert math.isfinite(metrics["held_out"]["log_loss"])
