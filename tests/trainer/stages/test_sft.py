"""Supervised fine-tuning learns answers and when to stop, and nothing of prompts or padding."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from feedback import artifacts
from feedback.errors import ConfigError, DataError
from trainer.data.reading import Demonstration
from trainer.models.policies import load_policy, load_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.settings.stages import SftSettings
from trainer.stages import sft
from trainer.stages.sft import demonstration_loss, split, validation_loss

ANSWERS = [
    "red",
    "green and blue.",
    "the fox.",
    "In the wood.",
    "by night",
    "berries",
    "the old owl",
    "The fox sleeps.",
]


@pytest.fixture(scope="module")
def policy(tiny_policy_dir: Path) -> PreTrainedModel:
    return load_policy(tiny_policy_dir)


def demonstration(prompt_ids: list[int], completion_ids: list[int], **changes: Any) -> Demonstration:
    fields = {"id": "d", "messages": [{"role": "user", "content": str(prompt_ids)}], "finished": True}
    return Demonstration(prompt_ids=prompt_ids, completion_ids=completion_ids, **(fields | changes))  # type: ignore[arg-type]


def write(path: Path, prompts: int = 8) -> Path:
    rows = [{"id": str(n), "prompt": f"Question {n}?", "response": ANSWERS[n % 8]} for n in range(prompts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(tmp_path: Path, policy_dir: Path, **changes: Any) -> SftSettings:
    fields = {
        "output": tmp_path / "sft", "policy": policy_dir, "demonstrations": [tmp_path / "d.jsonl"], "threads": 1,
        "lr": 3e-3, "batch_size": 8, "epochs": 2, "dropout": 0.0, "max_prompt_tokens": 64, "max_completion_tokens": 24,
    }  # fmt: skip
    return SftSettings.model_validate(fields | changes)


@torch.no_grad()
def test_loss_is_the_mean_over_completion_tokens_eos_included(policy: PreTrainedModel) -> None:
    each = demonstration([1, 10, 11], [20, 21, 2])
    ids = torch.tensor([each.prompt_ids + each.completion_ids])
    logprobs_TV = policy(input_ids=ids).logits[0].log_softmax(-1)
    expected = -sum(float(logprobs_TV[t - 1, ids[0, t]]) for t in (3, 4, 5)) / 3
    assert math.isclose(float(demonstration_loss(policy, [each], 0)), expected, abs_tol=1e-5)


def test_gradient_of_prompt_and_padding_targets_is_zero(policy: PreTrainedModel) -> None:
    """Only the three positions that predict completion tokens get a gradient at the logits."""
    found = []
    head = policy.get_output_embeddings()
    handle = head.register_full_backward_hook(lambda _m, _i, gradients: found.append(gradients[0]))
    try:
        demonstration_loss(policy, [demonstration([1, 10, 11], [20, 21, 2]), demonstration([1, 10], [2])], 0).backward()
    finally:
        handle.remove()
        policy.zero_grad()
    used = found[0].abs().sum(-1).flatten().nonzero().flatten().tolist()
    # Rows of 5 predictions (6 tokens less the last): row 0 predicts with positions 2 to 4, row 1 with position 1.
    assert used == [2, 3, 4, 5 + 1]


@torch.no_grad()
def test_padding_moves_the_loss_by_nothing(policy: PreTrainedModel) -> None:
    short, long = demonstration([1, 10], [20, 2]), demonstration([1] + [30] * 20, [31] * 10 + [2])
    alone = [float(demonstration_loss(policy, [each], 0, tokens=1.0)) for each in (short, long)]
    together = float(demonstration_loss(policy, [short, long], 0, tokens=1.0))
    assert math.isclose(together, sum(alone), rel_tol=1e-6)


@torch.no_grad()
def test_validation_loss_weighs_every_token_alike(policy: PreTrainedModel) -> None:
    some = [demonstration([1, 10], [20, 2]), demonstration([1, 11], [21, 22, 23, 24, 2])]
    total = sum(float(demonstration_loss(policy, [each], 0, tokens=1.0)) for each in some)
    assert math.isclose(validation_loss(policy, some, 0), total / 7, rel_tol=1e-5)


def test_eight_overfitted_demonstrations_all_stop_where_they_should(tmp_path: Path, tiny_policy_dir: Path) -> None:
    write(tmp_path / "d.jsonl")
    sft.run(settings(tmp_path, tiny_policy_dir, epochs=80, valid_fraction=0.0))
    artifacts.verify(tmp_path / "sft")
    tokenizer = load_tokenizer(tmp_path / "sft")
    sampler = TransformersSampler(
        load_policy(tmp_path / "sft"), eos_id=2, pad_id=0, max_completion_tokens=24, temperature=0.0
    )
    prompts = [sft_prompt(tokenizer, n) for n in range(8)]
    rollout = sampler.sample(prompts, seed=0)
    assert bool(rollout.finished_B.all())
    assert [tokenizer.decode(ids, skip_special_tokens=True) for ids in rollout.completions()] == ANSWERS


def sft_prompt(tokenizer: Any, number: int) -> list[int]:
    from trainer.data.reading import render

    return render(tokenizer, [{"role": "user", "content": f"Question {number}?"}])


def test_epoch_with_the_lowest_validation_loss_is_kept(tmp_path: Path, tiny_policy_dir: Path) -> None:
    write(tmp_path / "d.jsonl", 40)
    metrics = sft.run(settings(tmp_path, tiny_policy_dir, epochs=6, lr=1e-2, valid_fraction=0.2))
    losses = {entry["epoch"]: entry["validation_loss"] for entry in metrics["epochs"]}
    assert metrics["selected_by"] == "validation loss"
    assert losses[metrics["selected_epoch"]] == min(losses.values())
    assert len(losses) == 6
    assert not list((tmp_path / "sft").glob("best*"))


def test_reward_model_chooses_the_epoch_when_given(tmp_path: Path, tiny_policy_dir: Path) -> None:
    write(tmp_path / "d.jsonl", 24)
    torch.manual_seed(0)
    ScalarModel.from_policy(tiny_policy_dir).save(tmp_path / "rm", load_tokenizer(tiny_policy_dir))
    metrics = sft.run(settings(tmp_path, tiny_policy_dir, epochs=3, reward_model=tmp_path / "rm", valid_fraction=0.2))
    rewards = {entry["epoch"]: entry["reward"] for entry in metrics["epochs"]}
    assert metrics["selected_by"] == "reward"
    assert rewards[metrics["selected_epoch"]] == max(rewards.values())


def test_reward_model_of_another_vocabulary_is_refused(tmp_path: Path, tiny_policy_dir: Path) -> None:
    write(tmp_path / "d.jsonl", 24)
    tokenizer = load_tokenizer(tiny_policy_dir)
    tokenizer.add_tokens(["more"])
    ScalarModel.from_policy(tiny_policy_dir).save(tmp_path / "rm", tokenizer)
    with pytest.raises(ConfigError, match="do not share a tokenizer: vocabulary"):
        sft.run(settings(tmp_path, tiny_policy_dir, reward_model=tmp_path / "rm", valid_fraction=0.2))


def test_mixed_text_keeps_the_policy_able_to_continue_it(tmp_path: Path, tiny_policy_dir: Path) -> None:
    write(tmp_path / "d.jsonl", 32)
    (tmp_path / "t.txt").write_text("The red fox lives in the green wood and eats berries.\n" * 60)
    options = {"epochs": 6, "text_block_tokens": 32, "valid_fraction": 0.0}
    sft.run(settings(tmp_path, tiny_policy_dir, text=[tmp_path / "t.txt"], **options))
    lines = [json.loads(line) for line in (tmp_path / "sft" / "metrics.jsonl").read_text().splitlines()]
    # Of a batch of 8 sequences, one is text.
    assert len(lines) == 6 * math.ceil(32 / 7)
    assert lines[-1]["text_loss"] < 0.7 * lines[0]["text_loss"]


def test_killed_run_ends_bit_equal_to_an_uninterrupted_one(
    tmp_path: Path, tiny_policy_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "d.jsonl", 40)
    (tmp_path / "t.txt").write_text("The red fox lives in the green wood and eats berries.\n" * 60)
    options = {
        "epochs": 2, "text": [tmp_path / "t.txt"], "text_block_tokens": 32, "dropout": 0.2, "checkpoint_every": 3,
        "valid_fraction": 0.2,
    }  # fmt: skip
    whole = sft.run(settings(tmp_path, tiny_policy_dir, output=tmp_path / "whole", **options))
    calls = []
    original = sft._Gradient.__call__

    def fail_at_the_eighth(self: Any) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(sft._Gradient, "__call__", fail_at_the_eighth)
    with pytest.raises(KeyboardInterrupt):
        sft.run(settings(tmp_path, tiny_policy_dir, output=tmp_path / "resumed", **options))
    resumed = sft.run(settings(tmp_path, tiny_policy_dir, output=tmp_path / "resumed", **options))
    assert resumed["epochs"] == whole["epochs"]
    assert resumed["selected_epoch"] == whole["selected_epoch"]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "resumed")]
    assert weights[0] == weights[1]


def test_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path, tiny_policy_dir: Path) -> None:
    write(tmp_path / "d.jsonl", 24)
    weights = []
    for number, seed in enumerate((0, 0, 1)):
        sft.run(settings(tmp_path, tiny_policy_dir, output=tmp_path / str(number), seed=seed, dropout=0.2))
        weights.append((tmp_path / str(number) / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_trained_prompts_are_never_in_validation() -> None:
    some = [demonstration([1, n % 5], [9, 2], split="train" if n % 2 else "valid") for n in range(10)]
    train, valid = split(some, 0.0)
    assert len(train) == 5
    assert valid == []
    with pytest.raises(DataError, match="no demonstration to train on"):
        split([demonstration([1], [2], split="test")], 0.0)


@pytest.mark.filterwarnings("ignore:.*no padding token")
def test_real_demonstrations_train_a_real_model(tmp_path: Path, data_root: Path, stories_dir: Path) -> None:
    run = settings(
        tmp_path, stories_dir, demonstrations=[data_root / "demos-dolly" / "demonstrations.jsonl.gz"],
        text=[data_root / "text-tinystories-sample" / "stories.txt.gz"], max_steps=5, valid_fraction=0.02, lr=1e-3,
        dropout=0.2,
    )  # fmt: skip
    metrics = sft.run(run)
    assert metrics["steps"] == 5
    lines = [json.loads(line) for line in (tmp_path / "sft" / "metrics.jsonl").read_text().splitlines()]
    assert all(math.isfinite(line["loss"]) and math.isfinite(line["text_loss"]) for line in lines)
    assert load_tokenizer(tmp_path / "sft").pad_token_id == 0
