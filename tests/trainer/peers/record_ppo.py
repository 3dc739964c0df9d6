"""Runs under TRL 1.12: one update of its real PPO trainer, with the tensors inside ``train`` written out.

The mathematics of the trainer stands inside one long method. Its helpers ``masked_whiten`` and ``masked_mean`` are
called at the right moments, so they are wrapped, and the wrapper reads the local variables of the caller. Nothing of
the trainer is changed. Arguments: the directory that ``record_functions`` works in, then directories with models,
prompts and settings; ``recorded`` is made in each of these.

Accumulation 1 and a per-device batch that is the whole batch: with accumulation, this trainer counts micro-batches
across minibatches and takes fewer optimizer steps than it was asked for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import record_functions
import torch
from datasets import Dataset
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoTokenizer, LlamaForCausalLM, LlamaForSequenceClassification, set_seed
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

ROLLOUT = (
    "query_responses", "responses", "logprobs", "ref_logprobs", "values", "scores", "sequence_lengths", "kl",
    "padding_mask", "padding_mask_p1", "rewards", "contain_eos_token", "advantages", "returns",
)  # fmt: skip
STEP = ("new_logprobs", "vpred", "logits", "ratio", "pg_loss", "vf_loss", "vf_clipfrac", "micro_batch_inds")
MEANS_PER_STEP = 4
"""Calls of ``masked_mean`` in a minibatch step; the last one comes after backward and the optimizer's step."""


class Recorder:
    """Stands in for two helpers of the trainer's module and keeps what their caller holds."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.whiten, self.mean = ppo_trainer.masked_whiten, ppo_trainer.masked_mean
        self.means = 0
        directory.mkdir()

    def masked_whiten(self, values: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
        whitened: Tensor = self.whiten(values, mask, shift_mean)
        frame = sys._getframe(1)
        if frame.f_code.co_name == "train":
            self.write("rollout", {name: frame.f_locals[name] for name in ROLLOUT} | {"whitened": whitened})
        return whitened

    def masked_mean(self, values: Tensor, mask: Tensor, axis: Any = None) -> Tensor:
        mean: Tensor = self.mean(values, mask, axis)
        frame = sys._getframe(1)
        if frame.f_code.co_name == "train":
            self.means += 1
            if self.means % MEANS_PER_STEP == 0:
                found = {name: torch.as_tensor(frame.f_locals[name]) for name in STEP} | {"pg_clipfrac": mean}
                self.write(f"step-{self.means // MEANS_PER_STEP:02}", found)
        return mean

    def write(self, name: str, tensors: dict[str, Tensor]) -> None:
        # A clone: the trainer changes some of them in place afterwards.
        kept = {key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}
        save_file(kept, self.directory / f"{name}.safetensors")


def keep_first_gradients(recorder: Recorder, trainer: PPOTrainer) -> None:
    backward: Callable[..., None] = trainer.accelerator.backward
    wrapped = trainer.accelerator.unwrap_model(trainer.model)

    def recorded(loss: Tensor, **options: Any) -> None:
        backward(loss, **options)
        if recorder.means < MEANS_PER_STEP:
            sides = (("policy", wrapped.policy), ("value", wrapped.value_model))
            found = {f"{side}.{name}": p.grad for side, model in sides for name, p in model.named_parameters()}
            recorder.write("gradients", {name: gradient for name, gradient in found.items() if gradient is not None})

    trainer.accelerator.backward = recorded


def main(directory: Path) -> None:
    settings = json.loads((directory / "settings.json").read_text())
    prompts = json.loads((directory / "prompts.json").read_text())
    set_seed(5)  # the trainer draws its minibatches from a generator that it does not seed
    recorder = Recorder(directory / "recorded")
    ppo_trainer.masked_whiten, ppo_trainer.masked_mean = recorder.masked_whiten, recorder.masked_mean
    trainer = PPOTrainer(
        PPOConfig(
            output_dir=str(directory / "out"), per_device_train_batch_size=len(prompts), gradient_accumulation_steps=1,
            total_episodes=len(prompts), local_rollout_forward_batch_size=len(prompts), num_sample_generations=0,
            stop_token="eos", save_strategy="no", report_to=[], bf16=False, gradient_checkpointing=False, use_cpu=True,
            disable_tqdm=True, seed=5, **settings,
        ),
        processing_class=AutoTokenizer.from_pretrained(directory / "tokenizer"),
        model=LlamaForCausalLM.from_pretrained(directory / "policy"),
        ref_model=LlamaForCausalLM.from_pretrained(directory / "reference"),
        reward_model=LlamaForSequenceClassification.from_pretrained(directory / "reward"),
        value_model=LlamaForSequenceClassification.from_pretrained(directory / "value"),
        train_dataset=Dataset.from_dict({"input_ids": prompts}),
    )  # fmt: skip
    keep_first_gradients(recorder, trainer)
    try:
        trainer.train()
    finally:
        ppo_trainer.masked_whiten, ppo_trainer.masked_mean = recorder.whiten, recorder.mean
    logged = next(entry for entry in trainer.state.log_history if "objective/kl" in entry)
    (recorder.directory / "logged.json").write_text(json.dumps(logged))


if __name__ == "__main__":
    record_functions.main(Path(sys.argv[1]))
    for argument in sys.argv[2:]:
        main(Path(argument))
