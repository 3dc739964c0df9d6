"""Small real runs of the trainer's stages, made from nothing, and what each left behind in a form that can be compared.

Knows stages' settings and files; does not know who kills them. Imports the trainer, and with it torch.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from deploy.base import SHIPPED
from trainer.models.policies import load_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.settings.ppo import PpoSettings
from trainer.settings.stages import PretrainSettings, RewardSettings, SftSettings, StageSettings

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_TIMES = ("s", "wall_s", "eta_s", "tokens_per_s", "train_cpu_s")
"""Figures that are times, or quotients of them; so is everything that begins with ``time/``."""
_SENTENCES = [
    "The red fox lives in the green wood and eats berries.",
    "The old owl sleeps by day and hunts by night.",
    "Tom and Lily went to the river and saw a big boat.",
    "A small dog found a bone under the tree in the garden.",
]


@dataclass(frozen=True)
class Scenario:
    """One run of one stage.

    Attributes:
        name: short.
        module: of the stage, below ``trainer``.
        settings: with a relative output, because each run has a working directory of its own.
    """

    name: str
    module: str
    settings: StageSettings

    def run(self) -> dict[str, Any]:
        """Run the stage in this process and return its metrics."""
        stage: Callable[[StageSettings], dict[str, Any]] = self.load().run
        return stage(self.settings)

    def load(self) -> ModuleType:
        """Import the stage; done once before forking, all children run the same code and none waits for it."""
        return importlib.import_module(f"trainer.{self.module}")


def make_scenarios(directory: Path, *, vllm: bool = False) -> dict[str, Scenario]:
    """Write models and data into ``directory`` (emptied first) and return the runs over them, by name."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    policy, reward = _policy(directory / "policy"), directory / "reward"
    torch.manual_seed(1)
    ScalarModel.from_policy(policy).save(reward, load_tokenizer(policy))
    data = _data(directory)
    common = {"output": Path("out"), "threads": 1, "checkpoint_every": 1, "device": "cpu"}
    limits = {"max_prompt_tokens": 64, "max_completion_tokens": 8}
    ppo = common | limits | {
        "policy": policy, "reward": reward, "prompts": [data / "prompts.jsonl"], "pretraining": [data / "text.txt"],
        "episodes": 6 * 8, "batch_size": 8, "minibatches": 2, "ptx_per_episode": 1.0, "ptx_block_tokens": 24,
        "lr": 1e-3, "value_lr": 1e-3, "ema_decay": 0.8, "warmup_iterations": 2, "kl_target_nats": 1.0,
        "kl_horizon": 100, "max_kl_nats": 1e6, "max_eos_drop": 1.0, "min_entropy_ratio": 0.0,
    }  # fmt: skip
    sft = common | limits | {
        "policy": policy, "reward_model": reward, "demonstrations": [data / "demonstrations.jsonl"],
        "text": [data / "text.txt"], "text_block_tokens": 24, "epochs": 3, "batch_size": 8, "lr": 1e-3,
        "dropout": 0.2, "valid_fraction": 0.2, "select_prompts": 4,
    }  # fmt: skip
    ranked = common | limits | {
        "policy": policy, "preferences": [data / "preferences.jsonl"],
        "demonstrations": [data / "demonstrations.jsonl"], "batch_size": 4, "lr": 1e-3, "valid_fraction": 0.2,
    }  # fmt: skip
    base = common | {
        "text": [data / "text.txt"], "width": 32, "heads": 2, "layers": 1, "vocab_size": 300, "block_tokens": 16,
        "context_tokens": 64, "batch_size": 8, "max_steps": 6,
    }  # fmt: skip
    found = [
        Scenario("ppo", "ppo.ppo", PpoSettings.model_validate(ppo)),
        Scenario("ppo on 2 threads", "ppo.ppo", PpoSettings.model_validate(ppo | {"threads": 2})),
        Scenario("ppo with adapters", "ppo.ppo", PpoSettings.model_validate(ppo | {"lora_rank": 2})),
        Scenario("sft", "stages.sft", SftSettings.model_validate(sft)),
        Scenario("reward", "stages.reward", RewardSettings.model_validate(ranked)),
        Scenario("pretrain", "stages.pretrain", PretrainSettings.model_validate(base)),
    ]
    if vllm:
        few = ppo | {"sampler": "vllm", "episodes": 4 * 8, "max_sampler_gap": 1.0}
        found.append(Scenario("ppo with vLLM", "ppo.ppo", PpoSettings.model_validate(few)))
    return {each.name: each for each in found}


def result_digests(output: Path) -> dict[str, str]:
    """SHA-256 of every published file by name; of JSON without the figures that are times.

    The manifest, which is hashes of the others, times and all, is left out; it must agree with them (``verify``).
    """
    return {
        str(path.relative_to(output)): _digest(path)
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def checkpoint_digests(checkpoints: Path) -> dict[str, str]:
    """SHA-256 of what the newest checkpoint holds: every tensor with its path, every plain value, the cursor."""
    newest = max(checkpoints.glob("step-*"))
    saved = torch.load(newest / "tensors.pt", weights_only=True)
    found = {f"checkpoint/{name}": digest for name, digest in _leaves(saved, "")}
    return found | {"checkpoint/state.json": _digest(newest / "state.json"), "checkpoint/step": newest.name}


def _leaves(value: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [leaf for key in sorted(value, key=str) for leaf in _leaves(value[key], f"{name}/{key}")]
    if isinstance(value, list | tuple):
        return [leaf for index, entry in enumerate(value) for leaf in _leaves(entry, f"{name}/{index}")]
    if isinstance(value, torch.Tensor):
        raw = value.contiguous().view(-1).view(torch.uint8) if value.ndim else value.reshape(1).view(torch.uint8)
        return [(name, f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(raw.numpy().tobytes()).hexdigest()}")]
    return [(name, repr(value))]


def _digest(path: Path) -> str:
    if path.suffix not in (".json", ".jsonl"):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    timeless = [json.dumps(_without_times(json.loads(line)), sort_keys=True) for line in lines]
    return hashlib.sha256("\n".join(timeless).encode()).hexdigest()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if k not in _TIMES and not k.startswith("time/")}
    return [_without_times(entry) for entry in value] if isinstance(value, list) else value


def _policy(target: Path) -> Path:
    """Write a random Llama of two layers that speaks the sandbox's tokens."""
    torch.manual_seed(0)
    vocabulary = json.loads((SHIPPED / "config.json").read_text())
    config = LlamaConfig(
        vocab_size=vocabulary["vocab_size"],
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,  # 32 wide, the least that vLLM runs on a CPU
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.2,
        tie_word_embeddings=True,
        pad_token_id=vocabulary["pad_token_id"],
        bos_token_id=None,
        eos_token_id=vocabulary["eos_token_id"],
    )
    LlamaForCausalLM(config).float().save_pretrained(str(target))
    for name in _TOKENIZER_FILES:
        shutil.copy(SHIPPED / name, target / name)
    return target


def _data(directory: Path) -> Path:
    def write(name: str, rows: list[dict[str, Any]]) -> None:
        (directory / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    asked = [f"{_SENTENCES[n % 4]} What comes after number {n}?" for n in range(48)]
    write("prompts.jsonl", [{"id": f"p{n}", "prompt": text} for n, text in enumerate(asked)])
    write("demonstrations.jsonl", [{"prompt": t, "response": _SENTENCES[n % 4][:20]} for n, t in enumerate(asked)])
    ranked = [
        {"prompt": text, "responses": [{"text": f"{_SENTENCES[(n + k) % 4][: 8 + k]}", "rank": k} for k in range(3)]}
        for n, text in enumerate(asked[:40])
    ]
    write("preferences.jsonl", ranked)
    (directory / "text.txt").write_text("\n".join(_SENTENCES * 40))
    return directory
