"""Our reward stage as a process that takes turns (`benchmarks.ppo_gate`), whole: log, progress and guards included.

Argument: a JSON object of ``problem`` and ``data`` (directories), ``output``, and ``settings`` for the stage.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.ppo_gate import Gate
from benchmarks.reward_world import OPTIMIZER, Setting
from trainer.running.loop import optimize
from trainer.settings.stages import RewardSettings
from trainer.stages import reward
from trainer.stages.kwise import KwiseGradient


def settings(given: dict[str, Any]) -> RewardSettings:
    """Our names for what both sides are told."""
    data = Path(given["data"])
    setting = Setting(**json.loads((data / "setting.json").read_text()))
    told = {
        "output": Path(given["output"]) / "reward", "init_reward": Path(given["problem"]) / "start",
        "preferences": [data / "preferences.jsonl"], "batch_size": setting.prompts, "valid_fraction": 0.0,
        "max_prompt_tokens": setting.tokens, "max_completion_tokens": setting.tokens, "seed": setting.seed,
        "micro_batch_tokens": 1 << 20, "checkpoint_every": 0, "threads": 1, "device": "cpu",
    }  # fmt: skip
    return RewardSettings.model_validate(told | OPTIMIZER | given.get("settings", {}))


def main(given: dict[str, Any]) -> None:
    """Train, turn by turn; the stage publishes the reward model."""
    told = settings(given)
    gate = Gate(Setting(**json.loads((Path(given["data"]) / "setting.json").read_text())).pairs)

    class Gated(KwiseGradient):
        def __call__(self) -> dict[str, float]:
            gate.turn()
            return super().__call__()

    def optimized(*args: Any, **kwargs: Any) -> int:
        start = optimize(*args, **kwargs)
        gate.finish()
        return start

    for name, replacement in {"KwiseGradient": Gated, "optimize": optimized}.items():
        setattr(reward, name, replacement)
    gate.count_steps()
    reward.run(told)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
