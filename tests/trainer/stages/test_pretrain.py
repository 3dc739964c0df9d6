"""Pretraining learns text, makes a policy that transformers load, resumes bit for bit, and refuses nonsense."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from feedback import artifacts
from feedback.errors import ConfigError, DataError
from trainer.data.text import TextBlocks
from trainer.models.policies import load_policy
from trainer.settings.stages import PretrainSettings
from trainer.stages import pretrain
from trainer.stages.pretrain import mean_loss, text_loss


@pytest.fixture
def text(tmp_path: Path) -> Path:
    lines = [f"The {a} {b} {c}." for a in ("red", "old", "wise") for b in ("fox", "owl") for c in ("sleeps", "eats")]
    (tmp_path / "t.txt").write_text("\n".join(lines * 30))
    return tmp_path / "t.txt"


def settings(tmp_path: Path, text: Path, **changes: Any) -> PretrainSettings:
    fields = {
        "output": tmp_path / "base", "text": [text], "threads": 1, "vocab_size": 290, "width": 32, "heads": 2,
        "layers": 1, "block_tokens": 16, "batch_size": 8, "max_steps": 30, "warmup_steps": 2, "lr": 1e-2,
        "context_tokens": 64,
    }  # fmt: skip
    return PretrainSettings.model_validate(fields | changes)


def test_text_is_learned_and_the_policy_loads_anywhere(tmp_path: Path, text: Path) -> None:
    metrics = pretrain.run(settings(tmp_path, text))
    assert metrics["valid_loss"] < 0.6 * math.log(290)
    artifacts.verify(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    assert model.config.vocab_size == len(tokenizer) == metrics["vocabulary"]
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id != tokenizer.pad_token_id
    assert tokenizer.chat_template
    assert sum(parameter.numel() for parameter in model.parameters()) == metrics["parameters"]


def test_killed_run_ends_bit_equal_to_an_uninterrupted_one(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"max_steps": 7, "checkpoint_every": 2}
    pretrain.run(settings(tmp_path, text, output=tmp_path / "whole", **options))
    calls = []
    original = pretrain._Gradient.__call__

    def fail_at_the_sixth(self: Any) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(pretrain._Gradient, "__call__", fail_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        pretrain.run(settings(tmp_path, text, output=tmp_path / "resumed", **options))
    pretrain.run(settings(tmp_path, text, output=tmp_path / "resumed", **options))
    assert len(calls) == 6 + 3
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes()
    steps = [json.loads(line)["step"] for line in (tmp_path / "resumed" / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 8))


def test_training_goes_on_from_a_policy(tmp_path: Path, text: Path) -> None:
    first = pretrain.run(settings(tmp_path, text))
    again = settings(tmp_path, text, init=tmp_path / "base", output=tmp_path / "more", lr=1e-5, max_steps=1)
    second = pretrain.run(again)
    assert abs(second["valid_loss"] - first["valid_loss"]) < 0.05
    template = AutoTokenizer.from_pretrained(tmp_path / "base").chat_template
    assert AutoTokenizer.from_pretrained(tmp_path / "more").chat_template == template


def test_given_tokenizer_template_and_special_tokens_are_used(tmp_path: Path, text: Path) -> None:
    (tmp_path / "chat.jinja").write_text("{% for m in messages %}<|u|>{{ m['content'] }}{% endfor %}")
    run = settings(tmp_path, text, chat_template=tmp_path / "chat.jinja", special_tokens=["<|u|>"], max_steps=1)
    pretrain.run(run)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    assert tokenizer("<|u|>")["input_ids"] == [3]
    again = settings(tmp_path, text, tokenizer=tmp_path / "base", output=tmp_path / "other", max_steps=1)
    pretrain.run(again)
    assert (tmp_path / "other" / "tokenizer.json").read_bytes() == (tmp_path / "base" / "tokenizer.json").read_bytes()


def test_bfloat16_stays_near_float32(tmp_path: Path, text: Path) -> None:
    losses = [
        pretrain.run(settings(tmp_path, text, bf16=bf16, output=tmp_path / str(bf16)))["valid_loss"]
        for bf16 in (False, True)
    ]
    assert math.isclose(*losses, rel_tol=0.05)


@torch.no_grad()
def test_loss_is_the_mean_over_predicted_tokens_whatever_the_batches(tiny_policy_dir: Path) -> None:
    policy = load_policy(tiny_policy_dir)
    lengths = torch.tensor([12, 3, 7, 12, 2, 9, 5])
    ids = torch.randint(3, 300, (7, 12))
    logprobs = policy(input_ids=ids).logits.log_softmax(-1)
    brute = [-float(logprobs[row, t - 1, ids[row, t]]) for row in range(7) for t in range(1, int(lengths[row]))]
    assert math.isclose(float(text_loss(policy, ids, lengths)), sum(brute) / len(brute), rel_tol=1e-5)
    poisoned = ids.where(torch.arange(12) < lengths[:, None], 299)
    for batch_size in (1, 3, 100):
        found = mean_loss(policy, TextBlocks(poisoned, lengths_N=lengths), batch_size)
        assert math.isclose(found, sum(brute) / len(brute), rel_tol=1e-5)


def test_documents_apart_are_learned_too(tmp_path: Path, text: Path) -> None:
    metrics = pretrain.run(settings(tmp_path, text, packed=False, bos=False, schedule="linear", lr_floor=0.0))
    assert metrics["valid_loss"] < 0.6 * math.log(290)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    assert (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id) == (None, 0, 1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"width": 33}, "not a multiple"),
        ({"init": Path("x"), "tokenizer": Path("y")}, "cannot be combined"),
        ({"block_tokens": 128}, "longer than the model's context"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    tmp_path: Path, text: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        pretrain.run(settings(tmp_path, text, **changes))


def test_absent_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        pretrain.run(settings(tmp_path, tmp_path / "absent.txt"))
