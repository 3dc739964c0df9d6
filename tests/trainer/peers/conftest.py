"""TRL in processes of their own: what it computes comes back as tensors, to be compared with ours.

Two versions of one package cannot be imported together, so each runs by itself with its directory first on the path;
``deploy/setup.sh test`` puts them there. The largest difference of every quantity goes to ``var/bench/peers.json``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from tests.sources import ROOT
from trainer.models.scalar import ScalarModel

HERE = Path(__file__).parent
PEERS = Path(sys.prefix) / "peers"
VOCABULARY, PAD, EOS = 64, 0, 1
EPISODES, RESPONSE_TOKENS = 16, 10
_SETTINGS: dict[str, Any] = {
    "response_length": RESPONSE_TOKENS, "num_mini_batches": 2, "num_ppo_epochs": 2, "temperature": 0.8,
    "kl_coef": 0.1, "lam": 0.9, "missing_eos_penalty": 1.0, "learning_rate": 5e-3, "cliprange": 0.1,
    "cliprange_value": 0.1, "vf_coef": 0.3,
}  # fmt: skip
UPDATES = {"full": (-20.0, _SETTINGS | {"gamma": 0.97}), "ended": (1.5, _SETTINGS | {"gamma": 1.0})}
"""Weight of EOS on the feature that every token has, and TRL's settings, of each recorded update."""


def run_peer(version: str, script: str, *arguments: str | Path) -> None:
    """Run a script of this directory under one version of TRL."""
    home = PEERS / f"trl-{version}"
    if not home.is_dir():
        pytest.fail(f"TRL {version} is not at {home}; `deploy/setup.sh test` installs it")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{home}{os.pathsep}{PEERS / 'shared'}",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, HERE / script, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]


class Differences:
    """Compares and remembers: the largest absolute difference of every quantity."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = {}

    def check(self, quantity: str, ours: Tensor, theirs: Tensor, atol: float) -> None:
        assert ours.shape == theirs.shape, f"{quantity}: {tuple(ours.shape)} against {tuple(theirs.shape)}"
        assert ours.numel(), f"{quantity}: nothing was compared"
        largest = (ours.double() - theirs.double()).abs().max().item()
        known = self.found.get(quantity, {"largest": 0.0})
        self.found[quantity] = {
            "largest": max(largest, known["largest"]),
            "of_values_up_to": max(theirs.double().abs().max().item(), known.get("of_values_up_to", 0.0)),
        }
        assert largest <= atol, f"{quantity}: ours and TRL's differ by {largest}"


@pytest.fixture(scope="session")
def differences() -> Iterator[Differences]:
    found = Differences()
    yield found
    target = ROOT / "var" / "bench" / "peers.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(found.found, indent=1) + "\n")


def _config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.2, pad_token_id=PAD, eos_token_id=EOS,
        bos_token_id=None, tie_word_embeddings=False, num_labels=1, dtype="float32",
    )  # fmt: skip


def _policy(seed: int, eos_weight: float) -> LlamaForCausalLM:
    """A random policy whose logits of padding and EOS hang on a feature that every token has, so on our choice."""
    torch.manual_seed(seed)
    policy = LlamaForCausalLM(_config())
    with torch.no_grad():
        policy.model.embed_tokens.weight[:, 0] = 8.0
        policy.lm_head.weight[:, 0] = 0.0
        policy.lm_head.weight[PAD, 0], policy.lm_head.weight[EOS, 0] = -20.0, eos_weight
    return policy


def scalar_model(directory: Path) -> ScalarModel:
    """Return our scalar model with the trunk and head of a sequence classifier with one label."""
    classifier = LlamaForSequenceClassification.from_pretrained(directory)
    model = ScalarModel(classifier.model)
    model.head.load_state_dict({"weight": classifier.score.weight.detach(), "bias": torch.zeros(1)})
    return model.eval()


def save_models(directory: Path, eos_weight: float) -> Path:
    policy = _policy(1, eos_weight)
    policy.save_pretrained(directory / "policy")
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    policy.save_pretrained(directory / "reference")
    for seed, name in ((2, "reward"), (3, "value")):
        torch.manual_seed(seed)
        LlamaForSequenceClassification(_config()).save_pretrained(directory / name)
    names = {"<pad>": PAD, "<eos>": EOS} | {f"t{token}": token for token in range(2, VOCABULARY)}
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(names, unk_token="<pad>")), pad_token="<pad>", eos_token="<eos>",
        padding_side="left",
    ).save_pretrained(directory / "tokenizer")  # fmt: skip
    generator = torch.Generator().manual_seed(4)
    prompts = [torch.randint(2, VOCABULARY, (3 + row % 5,), generator=generator).tolist() for row in range(EPISODES)]
    (directory / "prompts.json").write_text(json.dumps(prompts))
    return directory


class Capture:
    """One update of TRL's PPO trainer: its models, its rollout, its minibatch steps and what it logged."""

    def __init__(self, models: Path, recorded: Path, settings: dict[str, Any]) -> None:
        self.models, self.settings = models, settings
        self.rollout = load_file(recorded / "rollout.safetensors")
        self.steps = [load_file(path) for path in sorted(recorded.glob("step-*.safetensors"))]
        self.gradients = load_file(recorded / "gradients.safetensors")
        self.logged = json.loads((recorded / "logged.json").read_text())

    @property
    def mask_BA(self) -> Tensor:
        return ~self.rollout["padding_mask"]


def random_inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return {
        "logits": 3 * torch.randn(9, 12, 50, generator=generator),
        "tokens": torch.randint(0, 50, (9, 12), generator=generator),
        "entries": 5 * torch.randn(9, 12, generator=generator) + 2,
        "mask": torch.arange(12) < torch.randint(1, 13, (9,), generator=generator)[:, None],
        "responses": torch.randint(0, 6, (40, 12), generator=generator),
    }


@pytest.fixture(scope="session")
def recorded_by_ppo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process of TRL 1.12 for all that is compared with it: most of its time is spent on imports.

    ``full``: every completion runs to the cap, so that no convention of ends matters; ``ended``: many say EOS.
    """
    root = tmp_path_factory.mktemp("peers")
    (root / "functions").mkdir()
    save_file(random_inputs(), root / "functions" / "given.safetensors")
    for name, (eos_weight, settings) in UPDATES.items():
        save_models(root / name, eos_weight)
        (root / name / "settings.json").write_text(json.dumps(settings))
    run_peer("1.12.0", "record_ppo.py", root / "functions", *(root / name for name in UPDATES))
    return root


@pytest.fixture(scope="session")
def captures(recorded_by_ppo: Path) -> dict[str, Capture]:
    return {
        name: Capture(recorded_by_ppo / name, recorded_by_ppo / name / "recorded", settings)
        for name, (_, settings) in UPDATES.items()
    }


@pytest.fixture(scope="session")
def functions(recorded_by_ppo: Path) -> dict[str, Tensor]:
    """Random inputs and what TRL's small functions make of them."""
    return random_inputs() | load_file(recorded_by_ppo / "functions" / "recorded.safetensors")
