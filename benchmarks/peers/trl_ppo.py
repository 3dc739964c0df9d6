"""TRL 1.12's PPO trainer as a process that takes turns (`benchmarks.ppo_gate`).

Runs with that version first on the path; nothing of the trainer is changed. It is timed from outside: generation by its
function of that name, training from the whitening of the advantages to the end of the step. Accumulation 1 and a
per-device batch that is the whole batch: otherwise this trainer counts accumulation across minibatches and takes fewer
optimizer steps than it is asked for. Argument: a JSON object of `benchmarks.ppo_world.shared_settings`, ``directory``
of the problem, ``output``, ``iterations``, ``seed``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoTokenizer,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PrinterCallback,
    TrainerCallback,
    set_seed,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

from benchmarks.ppo_gate import Gate


class Turns(TrainerCallback):  # type: ignore[misc] # transformers is untyped here
    """Lets the trainer through the gate, iteration by iteration."""

    def __init__(self, gate: Gate, iterations: int) -> None:
        self.gate, self.left = gate, iterations
        self.training_since = 0.0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the first turn."""
        self.gate.turn()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """End an iteration; wait for the next turn unless it was the last."""
        self.gate.add("train", time.process_time() - self.training_since)
        self.left -= 1
        if self.left:
            self.gate.turn()


def main(given: dict[str, Any]) -> None:
    """Train, turn by turn; write the final policy."""
    torch.set_num_threads(given.get("threads", 1))
    directory, gate = Path(given["directory"]), Gate(given["batch"])
    set_seed(given["seed"])  # the trainer draws its minibatches from a generator that it does not seed
    turns = Turns(gate, given["iterations"])
    whiten = ppo_trainer.masked_whiten

    def whitened(*args: Any, **kwargs: Any) -> Any:
        turns.training_since = time.process_time()
        return whiten(*args, **kwargs)

    ppo_trainer.masked_whiten = whitened
    ppo_trainer.batch_generation = gate.timed("generate", ppo_trainer.batch_generation)
    models = {name: LlamaForSequenceClassification.from_pretrained(directory / name) for name in ("reward", "value")}
    trainer = PPOTrainer(
        PPOConfig(
            output_dir=str(Path(given["output"]) / "trainer"), per_device_train_batch_size=given["batch"],
            gradient_accumulation_steps=1, total_episodes=given["batch"] * given["iterations"],
            local_rollout_forward_batch_size=given["batch"], num_sample_generations=0, num_ppo_epochs=1,
            num_mini_batches=given["minibatches"], response_length=given["response_tokens"], stop_token="eos",
            temperature=given["temperature"], kl_coef=given["kl_coef"], gamma=given["gamma"], lam=given["lam"],
            missing_eos_penalty=given["missing_eos_penalty"], cliprange=given["clip"],
            cliprange_value=given["value_clip"], learning_rate=given["lr"], lr_scheduler_type="constant",
            save_strategy="no", report_to=[], logging_strategy="no", bf16=False, gradient_checkpointing=False,
            use_cpu=True, disable_tqdm=True, seed=given["seed"],
        ),
        processing_class=AutoTokenizer.from_pretrained(directory / "policy"),
        model=LlamaForCausalLM.from_pretrained(directory / "policy"),
        ref_model=LlamaForCausalLM.from_pretrained(directory / "policy"),
        reward_model=models["reward"],
        value_model=models["value"],
        train_dataset=Dataset.from_dict({"input_ids": json.loads((directory / "prompts.json").read_text())}),
        callbacks=[turns],
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    gate.count_steps()
    trainer.train()
    policy = trainer.accelerator.unwrap_model(trainer.model).policy
    gate.finish()
    policy.save_pretrained(Path(given["output"]) / "policy")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
