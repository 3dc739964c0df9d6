"""TRL 1.12's PPO trainer on a problem of `benchmarks.gpu_world`; phases are noted from outside.

Runs with that version first on the path; nothing of the trainer is changed. Generation is its function of that name;
learning goes from the whitening of the advantages to the end of the step; scoring is what lies between. It has no
pretraining term, so it learns from fewer tokens. Accumulation 1 and a per-device batch that is the whole batch:
otherwise this trainer counts accumulation across minibatches and takes fewer optimizer steps than it is asked for. A
pass is then a whole minibatch, whose activations fit the device only with gradient checkpointing. Argument: as
`benchmarks.gpu_ours`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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

from benchmarks.gpu_phases import Phases
from benchmarks.gpu_world import Size


class Turns(TrainerCallback):  # type: ignore[misc] # transformers is untyped here
    """Counts iterations and ends the phases that no function of the trainer encloses."""

    def __init__(self, phases: Phases) -> None:
        self.phases = phases
        self.end: Callable[[], None] | None = None

    def begin(self, phase: str) -> None:
        """End the open phase and begin another."""
        self.close()
        self.end = self.phases.begin(phase)

    def close(self) -> None:
        """End the open phase."""
        if self.end is not None:
            self.end()
            self.end = None

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """An iteration's last optimizer step is done."""
        self.close()
        self.phases.iteration += 1


def main(given: dict[str, Any]) -> None:
    """Train; write ``phases.json`` into the output."""
    directory, size, phases = Path(given["directory"]), Size(**given["size"]), Phases()
    set_seed(0)
    turns = Turns(phases)
    whiten, generate = ppo_trainer.masked_whiten, ppo_trainer.batch_generation

    def whitened(*args: Any, **kwargs: Any) -> Any:
        turns.begin("learn")
        return whiten(*args, **kwargs)

    def generated(*args: Any, **kwargs: Any) -> Any:
        with phases.phase("sample"):
            found = generate(*args, **kwargs)
        turns.begin("score")
        return found

    ppo_trainer.masked_whiten, ppo_trainer.batch_generation = whitened, generated
    on_gpu = given["device"] == "cuda"

    def load(kind: Any, name: str) -> Any:
        return kind.from_pretrained(directory / name, dtype="float32")

    trainer = PPOTrainer(
        PPOConfig(
            output_dir=str(Path(given["output"]) / "trainer"), per_device_train_batch_size=size.batch,
            gradient_accumulation_steps=1, total_episodes=size.batch * given["iterations"],
            local_rollout_forward_batch_size=min(64, size.batch), num_sample_generations=0, num_ppo_epochs=1,
            num_mini_batches=size.minibatches, response_length=size.completion_tokens, stop_token="eos",
            temperature=1.0, kl_coef=0.02, gamma=1.0, lam=0.95, learning_rate=8.05e-6, lr_scheduler_type="constant",
            save_strategy="no", report_to=[], logging_strategy="no", bf16=given["bf16"],
            gradient_checkpointing=on_gpu, use_cpu=not on_gpu, disable_tqdm=True, seed=0,
        ),
        processing_class=AutoTokenizer.from_pretrained(directory / "policy"),
        model=load(LlamaForCausalLM, "policy"),
        ref_model=load(LlamaForCausalLM, "policy"),
        reward_model=load(LlamaForSequenceClassification, "reward"),
        value_model=load(LlamaForSequenceClassification, "reward"),
        train_dataset=Dataset.from_dict({"input_ids": json.loads((directory / "prompts.json").read_text())}),
        callbacks=[turns],
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    phases.count_steps()
    trainer.train()
    phases.write(Path(given["output"]) / "phases.json", gradient_checkpointing=on_gpu)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
