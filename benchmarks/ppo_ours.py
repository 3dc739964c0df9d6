"""Our PPO stage as a process that takes turns (`benchmarks.ppo_gate`), whole: guards, log and progress included.

Argument: a JSON object as `benchmarks.peers.trl_ppo` takes it, and under ``settings`` what else our stage is told.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForSequenceClassification

from benchmarks.ppo_gate import Gate
from benchmarks.ppo_world import PROMPT_TOKENS
from trainer.models.scalar import ScalarModel
from trainer.ppo import ppo
from trainer.ppo.job import PpoJob
from trainer.ppo.updates import take_steps
from trainer.settings.ppo import PpoSettings

LIKE_TRL: dict[str, Any] = {
    "beta1": 0.9, "beta2": 0.999, "adam_eps": 1e-8, "max_grad_norm": 0.0, "ema_decay": 0.0, "warmup_iterations": 0,
    "missing_eos": "subtract", "checkpoint_every": 0, "device": "cpu",
    # Guards measure and say, and stop nothing: a policy that is paid for some tokens games its reward, as it should.
    "guard_patience": 1_000_000,
}  # fmt: skip
"""TRL's optimizer, its fixed rate, no clipping of gradients, no average of weights."""


def settings(given: dict[str, Any]) -> PpoSettings:
    """Our names for what both sides are told."""
    directory = Path(given["directory"])
    told = {
        "output": Path(given["output"]) / "policy", "policy": directory / "policy", "seed": given["seed"],
        "reward": directory / "our-reward", "value": directory / "our-value", "prompts": [directory / "prompts.jsonl"],
        "episodes": given["batch"] * given["iterations"], "batch_size": given["batch"],
        "minibatches": given["minibatches"], "inner_epochs": 1, "lr": given["lr"], "value_lr": given["lr"],
        "kl_coef": given["kl_coef"], "missing_eos_penalty": given["missing_eos_penalty"], "gamma": given["gamma"],
        "gae_lambda": given["lam"], "clip": given["clip"], "value_clip": given["value_clip"],
        "temperature": given["temperature"], "max_prompt_tokens": PROMPT_TOKENS,
        "max_completion_tokens": given["response_tokens"], "threads": given.get("threads", 1),
    }  # fmt: skip
    return PpoSettings.model_validate(told | LIKE_TRL | given.get("settings", {}))


def ready_models(directory: Path) -> None:
    """Write the problem's reward and value model in our layout, unless they are there."""
    for name in ("reward", "value"):
        if not (directory / f"our-{name}").is_dir():
            classifier = LlamaForSequenceClassification.from_pretrained(directory / name)
            model = ScalarModel(classifier.model)
            model.head.load_state_dict({"weight": classifier.score.weight.detach(), "bias": torch.zeros(1)})
            model.save(directory / f"our-{name}")


def main(given: dict[str, Any]) -> None:
    """Train, turn by turn; the stage publishes the final policy."""
    gate, told = Gate(given["batch"]), settings(given)
    iterate, left = ppo.iterate, given["iterations"]

    def gated(*args: Any, **kwargs: Any) -> dict[str, float]:
        nonlocal left
        gate.turn()
        left -= 1
        return iterate(*args, **kwargs)

    export = PpoJob.export

    def finished(self: PpoJob, directory: Path) -> None:
        gate.finish()
        export(self, directory)

    ppo.iterate, PpoJob.export = gated, finished  # type: ignore[method-assign]
    PpoJob.sample = gate.timed("generate", PpoJob.sample)  # type: ignore[method-assign]
    vars(ppo)["take_steps"] = gate.timed("train", take_steps)
    gate.count_steps()
    ppo.run(told)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
