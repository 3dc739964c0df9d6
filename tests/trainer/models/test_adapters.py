"""Adapters change nothing at first, merge into the same policy, share the frozen weights and are read by peft."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import PreTrainedModel

from feedback import artifacts
from feedback.errors import ConfigError
from trainer.models.adapters import add_adapter, has_adapter, merged, trained_part, without_adapter
from trainer.models.ema import ParameterAverage
from trainer.models.policies import load_policy, load_tokenizer, save_policy
from trainer.running.optimization import adamw
from trainer.settings.lora import LoraSettings
from trainer.settings.stages import TrainingSettings

LORA = LoraSettings(lora_rank=4, lora_alpha=8)
LINEARS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture
def policy(tiny_policy_dir: Path) -> PreTrainedModel:
    """A policy with adapters that have been moved away from zero."""
    model = load_policy(tiny_policy_dir, lora=LORA)
    disturb(model)
    return model


def disturb(model: PreTrainedModel, size: float = 0.02) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in trainable(model).values():
            parameter += size * torch.randn(parameter.shape, generator=generator)


def trainable(model: PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def logits(model: torch.nn.Module, width: int = 320) -> torch.Tensor:
    ids = torch.arange(24).view(2, 12) * 7 % width
    found: torch.Tensor = model(input_ids=ids).logits
    return found


def stored_numbers(*models: torch.nn.Module) -> int:
    """Numbers that the models' parameters hold in memory together; what is shared counts once."""
    blocks = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for m in models for p in m.parameters()}
    return sum(blocks.values()) // 4


def test_new_adapters_change_nothing_and_are_all_that_trains(tiny_policy_dir: Path) -> None:
    plain, adapted = load_policy(tiny_policy_dir), load_policy(tiny_policy_dir, lora=LORA)
    assert torch.equal(logits(plain), logits(adapted))
    names = trainable(adapted)
    assert names
    assert all(".lora_A." in name or ".lora_B." in name for name in names)
    assert {name.split(".")[-4] for name in names} == LINEARS, "every linear layer but the head"
    assert type(adapted) is type(plain)


def test_rank_zero_is_full_weights(tiny_policy_dir: Path) -> None:
    model = load_policy(tiny_policy_dir, lora=LoraSettings())
    assert not has_adapter(model)
    assert all(p.requires_grad for p in model.parameters())
    assert merged(model) is model
    assert trained_part(model) is model


def test_merged_logits_equal_those_with_adapters_and_the_frozen_bits_stay(
    policy: PreTrainedModel, tiny_policy_dir: Path
) -> None:
    whole = merged(policy)
    assert not has_adapter(whole)
    assert whole.state_dict().keys() == load_policy(tiny_policy_dir).state_dict().keys()
    assert not torch.allclose(logits(policy), logits(without_adapter(policy)), atol=1e-2)
    torch.testing.assert_close(logits(whole), logits(policy), atol=1e-5, rtol=1e-5)
    before = load_policy(tiny_policy_dir).state_dict()
    assert all(torch.equal(p, before[name]) for name, p in without_adapter(policy).state_dict().items())


def test_the_policy_below_is_the_very_same_memory(policy: PreTrainedModel, tiny_policy_dir: Path) -> None:
    below = without_adapter(policy)
    torch.testing.assert_close(logits(below), logits(load_policy(tiny_policy_dir)), atol=0, rtol=0)
    one, adapters = stored_numbers(below), sum(p.numel() for p in trainable(policy).values())
    assert stored_numbers(policy, below) == one + adapters
    assert stored_numbers(load_policy(tiny_policy_dir), load_policy(tiny_policy_dir)) == 2 * one
    assert adapters < 0.15 * one
    assert not any(p.requires_grad for p in below.parameters())


def test_frozen_weights_get_no_gradient_optimizer_state_or_average(policy: PreTrainedModel) -> None:
    optimizer = adamw(policy, TrainingSettings(output="o"), 1e-2)
    frozen = {name: p.clone() for name, p in policy.named_parameters() if not p.requires_grad}
    average = ParameterAverage(policy, 0.9)
    policy(input_ids=torch.ones(1, 4, dtype=torch.long), labels=torch.ones(1, 4, dtype=torch.long)).loss.backward()
    assert all((p.grad is not None) == p.requires_grad for p in policy.parameters())
    optimizer.step()
    average.update(policy)
    moving = trainable(policy)
    assert len(optimizer.state) == len(moving) == len(average.state_dict())
    assert average.state_dict().keys() == moving.keys()
    assert all(torch.equal(p, frozen[name]) for name, p in policy.named_parameters() if name in frozen)


def test_a_checkpoint_holds_adapters_only_and_loads_into_the_model(
    policy: PreTrainedModel, tiny_policy_dir: Path
) -> None:
    part = trained_part(policy)
    assert sum(p.numel() for p in part.state_dict().values()) == sum(p.numel() for p in trainable(policy).values())
    other = load_policy(tiny_policy_dir, lora=LORA, seed=9)
    trained_part(other).load_state_dict(part.state_dict())
    assert torch.equal(logits(other), logits(policy))


def test_a_published_policy_is_plain_and_its_adapter_is_peft_s(
    policy: PreTrainedModel, tiny_policy_dir: Path, tmp_path: Path
) -> None:
    save_policy(policy, load_tokenizer(tiny_policy_dir), tmp_path / "out")
    artifacts.verify(tmp_path / "out")
    published = load_policy(tmp_path / "out")
    assert published.config.tie_word_embeddings
    torch.testing.assert_close(logits(published), logits(policy), atol=1e-5, rtol=1e-5)
    theirs = PeftModel.from_pretrained(load_policy(tiny_policy_dir), tmp_path / "out" / "adapter").eval()
    assert torch.equal(logits(theirs), logits(policy))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())["files"]
    assert "adapter/adapter_model.safetensors" in manifest
    sums = json.loads((tmp_path / "out" / "adapter" / "base.json").read_text())
    assert sums == {"model.safetensors": artifacts.sha256_of(tiny_policy_dir / "model.safetensors")}
    config = json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == tiny_policy_dir.name
    assert config["target_modules"] == sorted(config["target_modules"])
    assert {name.rsplit(".")[-1] for name in config["target_modules"]} == LINEARS


def test_the_adapters_begin_by_their_seed_alone(tiny_policy_dir: Path) -> None:
    state = torch.get_rng_state()
    first, again, other = (trainable(load_policy(tiny_policy_dir, lora=LORA, seed=seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_residual_dropout_covers_what_the_adapters_add(tiny_policy_dir: Path) -> None:
    model = load_policy(tiny_policy_dir, lora=LORA, dropout=0.5)
    end = model.get_submodule("model.layers.0.mlp.down_proj")
    end.lora_B["default"].weight.data.fill_(0.1)
    end.base_layer.weight.data.zero_()
    end.train()
    assert float((end(torch.ones(64, 96)) == 0).float().mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
@pytest.mark.parametrize(
    ("targets", "reason"),
    [(["no_such"], "not found"), (["embed_tokens"], "no linear layer"), (["lm_head"], "shares its weights")],
)
def test_targets_that_cannot_be_adapted_are_refused(tiny_policy_dir: Path, targets: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_policy(tiny_policy_dir, lora=LoraSettings(lora_rank=2, lora_targets=targets))


def test_chosen_targets_only(tiny_policy_dir: Path) -> None:
    model = load_policy(tiny_policy_dir)
    add_adapter(model, LoraSettings(lora_rank=2, lora_targets=["q_proj", "v_proj"]))
    assert {name.split(".")[-4] for name in trainable(model)} == {"q_proj", "v_proj"}


def test_a_real_model_with_tied_embeddings_and_narrow_heads(stories_dir: Path) -> None:
    model = load_policy(stories_dir, lora=LORA)
    disturb(model)
    torch.testing.assert_close(logits(merged(model), 512), logits(model, 512), atol=1e-5, rtol=1e-5)
