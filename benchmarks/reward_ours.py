"""Our reward stage as a process that takes turns (`benchmarks.ppo_gate`), whole: log, progress and guards included.

Argument: a JSON object of ``problem`` (a directory), ``data`` (directories of rows, taken one after the other) and
``side``: ``packed`` or ``padded``, below which in each of them the reward model is written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.ppo_gate import Gate
from benchmarks.reward_world import OPTIMIZER, Setting
from trainer.settings.stages import RewardSettings
from trainer.stages import reward
from trainer.stages.kwise import KwiseGradient


def settings(given: dict[str, Any], data: Path) -> RewardSettings:
    """Our names for what both sides are told of the rows in a directory."""
    setting = Setting(**json.loads((data / "setting.json").read_text()))
    told = {
        "output": data / given["side"] / "reward", "init_reward": Path(given["problem"]) / "start",
        "preferences": [data / "preferences.jsonl"], "batch_size": setting.prompts, "valid_fraction": 0.0,
        "max_prompt_tokens": setting.tokens, "max_completion_tokens": setting.tokens, "seed": setting.seed,
        "micro_batch_tokens": 1 << 20, "checkpoint_every": 0, "threads": 1, "device": "cpu",
        "packed": given["side"] != "padded",
    }  # fmt: skip
    return RewardSettings.model_validate(told | OPTIMIZER)


def main(given: dict[str, Any]) -> None:
    """Train on one directory of rows after the other, turn by turn; the stage publishes each reward model."""
    gate = Gate(1)

    class Gated(KwiseGradient):
        def __call__(self) -> dict[str, float]:
            gate.turn()
            return super().__call__()

    reward.__dict__["KwiseGradient"] = Gated
    gate.count_steps()
    for data in map(Path, given["data"]):
        reward.run(settings(given, data))
        gate.finish()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
