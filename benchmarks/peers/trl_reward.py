"""TRL 1.16's reward trainer as a process that takes turns (`benchmarks.ppo_gate`).

Runs with that version first on the path. Nothing of the trainer is changed but the order of its rows, which is that of
the file; optimizer and schedule are handed to it and are the very ones that our stage uses. Argument: a JSON object as
`benchmarks.reward_ours` takes it; ``side`` is ``trl``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import SequentialSampler
from transformers import AutoTokenizer, LlamaForSequenceClassification, TrainerCallback
from trl import RewardConfig, RewardTrainer

from benchmarks.ppo_gate import Gate
from benchmarks.reward_ours import settings
from benchmarks.reward_world import Setting
from trainer.running.optimization import Schedule, adamw


class InOrder(RewardTrainer):  # type: ignore[misc] # untyped here
    """Takes rows in the order of the file."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class Turns(TrainerCallback):  # type: ignore[misc] # untyped here
    """Lets the trainer through the gate, step by step."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the turn of this step."""
        self.gate.turn()


def main(given: dict[str, Any]) -> None:
    """Train on one directory of rows after the other, turn by turn; write each reward model."""
    torch.set_num_threads(1)
    gate, problem = Gate(1), Path(given["problem"])
    gate.count_steps()
    for data in map(Path, given["data"]):
        ours, output = settings(given, data), data / given["side"]
        setting = Setting(**json.loads((data / "setting.json").read_text()))
        model = LlamaForSequenceClassification.from_pretrained(problem / "value")
        optimizer = adamw(model, ours, ours.lr)
        trainer = InOrder(
            model=model,
            args=RewardConfig(
                output_dir=str(output / "trainer"), per_device_train_batch_size=setting.pairs,
                gradient_accumulation_steps=1, num_train_epochs=1, max_grad_norm=ours.max_grad_norm, bf16=False,
                gradient_checkpointing=False, use_cpu=True, save_strategy="no", logging_strategy="no", report_to=[],
                disable_tqdm=True, seed=setting.seed,
            ),
            train_dataset=Dataset.from_list(json.loads((data / "pairs.json").read_text())),
            processing_class=AutoTokenizer.from_pretrained(problem / "policy"),
            optimizers=(optimizer, LambdaLR(optimizer, Schedule(steps=setting.steps).share)),
            callbacks=[Turns(gate)],
        )  # fmt: skip
        trainer.train()
        model.save_pretrained(output / "reward")
        gate.finish()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
