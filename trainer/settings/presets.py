"""Presets: named sets of overrides for each stage, in one table, and how they combine with what the caller gave.

Knows values only; does not know what they do (see `trainer.settings.stages`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from feedback.errors import ConfigError
from trainer.settings.stages import StageSettings

Settings = TypeVar("Settings", bound=StageSettings)

_SMALL_LIMITS = {"max_prompt_tokens": 512, "max_completion_tokens": 256}
_SANDBOX_LIMITS = {"max_prompt_tokens": 192, "max_completion_tokens": 32}
# Two threads on two busy cores wait for each other: one is faster beside a serving engine.
_SANDBOX = _SANDBOX_LIMITS | {"threads": 1}
_SANDBOX_TRAINING = _SANDBOX | {"checkpoint_every": 20}
# Four steps a round: larger batches helped; a rate that does not fall in each of them is within noise (measured).
_GOING_ON = {"incremental_batch_size": 32, "incremental_lr_floor": 1.0}

# float16 with a float32 master copy in the paper; bfloat16 needs no loss scaling.
_ON_GPU = {"bf16": True}
_SMALL = _ON_GPU | _SMALL_LIMITS

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # The paper's values are the defaults of the settings classes, those of 1.3B where it gives several.
    "paper": {},
    "paper-1.3b": {"sft": _ON_GPU, "start": _ON_GPU, "reward": _ON_GPU, "ppo": _ON_GPU},
    "paper-6b": {"sft": _ON_GPU, "start": _ON_GPU | {"lr": 1.04e-5}, "reward": _ON_GPU, "ppo": _ON_GPU},
    "paper-175b": {
        "sft": _ON_GPU | {"lr": 5.03e-6, "batch_size": 8},
        "start": _ON_GPU | {"lr": 2.45e-6, "batch_size": 8},
        "reward": _ON_GPU,  # of 6B in the paper, whatever the policy's size
        "ppo": _ON_GPU | {"lr": 2.55e-6, "value_lr": 5e-6},  # the lower of the two rates that its sweep names
    },
    # A real pretrained model of 0.1-1 B on one GPU, with tens of thousands of labels instead of the paper's volumes.
    "small": {
        # No dropout: such models were pretrained without. The epoch is chosen, so that a few of them cost only time.
        "sft": _SMALL | {"epochs": 4, "lr": 1e-5, "dropout": 0.0},
        "start": _SMALL | {"lr": 1e-5},
        "reward": _SMALL | {"batch_size": 32},
        "ppo": _SMALL | {
            # An eighth of the episodes in batches of a quarter: 250 iterations.
            "episodes": 32_000, "batch_size": 128, "minibatches": 4,
            # Rate and KL price that arXiv:2403.17031 found for 1 B.
            "lr": 3e-6, "value_lr": 3e-6, "kl_coef": 0.05,
            # Eight examples an episode double the paper's time. At 27.8 the clipped step would be pretraining's alone:
            # on a real model of 260 k, at 1 the two gradients are of the same norm (measured).
            "ptx_coef": 1.0, "ptx_per_episode": 1.0,
            # Small models run on: every completion without an end loses a point.
            "missing_eos": "subtract", "missing_eos_penalty": 1.0,
        },
        "evaluate": _SMALL_LIMITS,
        "score": _SMALL_LIMITS,
        "disagree": _SMALL_LIMITS,
        "generate": _SMALL_LIMITS,
    },
    # A Llama of 1-3 M parameters on two cores: higher learning rates, smaller batches, minutes in all.
    "sandbox": {
        "pretrain": {
            "width": 128, "layers": 4, "heads": 4, "mlp_width": 384, "tied": True, "init_std": 0.08,
            "context_tokens": 256, "vocab_size": 1024, "bos": False,
            # Documents apart: look-ups in the own context are the hard part, and neighbours only distract.
            "packed": False, "block_tokens": 128, "batch_size": 32,
            "lr": 4e-3, "beta2": 0.98, "weight_decay": 0.05, "warmup_steps": 40, "schedule": "linear", "lr_floor": 0.03,
        },
        "sft": _SANDBOX_TRAINING | {"epochs": 4, "batch_size": 16, "lr": 5e-4, "dropout": 0.0, "text_packed": False},
        "start": _SANDBOX_TRAINING | {"batch_size": 16, "lr": 5e-4, "text_packed": False},
        "reward": _SANDBOX_TRAINING | {"batch_size": 8, "lr": 3e-4} | _GOING_ON,
        "ppo": _SANDBOX | {
            "episodes": 64 * 100, "batch_size": 64, "minibatches": 2,
            # A kill costs one iteration at most; a checkpoint takes a fourteenth of the time of one (measured).
            "checkpoint_every": 1,
            "lr": 3e-4, "value_lr": 1e-3, "warmup_iterations": 5,
            # Of 0.05 to 0.4 the one whose policies were preferred most over the base; with 0.05 two rounds of four
            # won less than 0.6 of the prompts (measured; docs/log.md).
            "kl_coef": 0.2,
            # Acts only with a KL budget or target: over 6,400 episodes the 2019 code's 10,000 would hardly move it.
            "kl_horizon": 320,
            # Over 100 iterations an average of 0.992 would still be half the initial policy.
            "ema_decay": 0.9,
            # A short document weighs less than a GPT-3 context, and its gradient is as large as PPO's (measured).
            "ptx_coef": 0.5, "ptx_per_episode": 1.0, "ptx_packed": False, "ptx_block_tokens": 128,
            "missing_eos": "subtract", "missing_eos_penalty": 1.0,
        },
        "evaluate": _SANDBOX | {
            "pretraining_packed": False, "pretraining_block_tokens": 128,
            "pretraining_blocks": 512,
        },
        "score": _SANDBOX_LIMITS,
        "disagree": _SANDBOX,
        "generate": _SANDBOX_LIMITS,
    },
}  # fmt: skip
for _stages in PRESETS.values():
    if "reward" in _stages:
        _stages["ensemble"] = _stages["reward"]  # whose members are trained by that stage


def resolve(stage: str, kind: type[Settings], preset: str, given: Mapping[str, Any]) -> Settings:
    """Return a stage's settings: defaults, overridden by the preset, overridden by what was given.

    Args:
        stage: the stage's command name, a row of the preset.
        kind: the stage's settings class.
        preset: a key of ``PRESETS``.
        given: explicit values by field name.

    Raises:
        ConfigError: unknown preset, or a value is missing or malformed; names the option and what was expected.
    """
    if preset not in PRESETS:
        raise ConfigError(f"--preset {preset}: no such preset, choose from {', '.join(PRESETS)}")
    try:
        return kind(**(PRESETS[preset].get(stage, {}) | dict(given)))
    except ValidationError as error:
        faults = [_fault(fault["loc"], fault["type"], fault.get("input"), fault["msg"]) for fault in error.errors()]
        raise ConfigError("; ".join(faults)) from error


def _fault(location: tuple[int | str, ...], kind: str, value: object, message: str) -> str:
    option = "--" + str(location[0] if location else "settings").replace("_", "-")
    return f"{option} is required" if kind == "missing" else f"{option} {value}: {message}"
