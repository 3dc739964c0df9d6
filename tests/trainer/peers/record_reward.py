"""Runs under TRL 1.16: one step of its real reward trainer on given pairs, with the loss and gradients written out.

Argument: a directory with a model, a tokenizer and ``pairs-*.json``, each made ``pairs-*.safetensors``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import save_file
from transformers import AutoTokenizer, LlamaForSequenceClassification
from trl import RewardConfig, RewardTrainer


class Recording(RewardTrainer):  # type: ignore[misc]
    """Keeps the first loss, its gradients and the rewards behind it; computes nothing by itself."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **rest: Any) -> Any:
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **rest)
        self.found = {"loss": loss.detach().clone(), "rewards": outputs.logits.detach().squeeze(-1).clone()}
        return (loss, outputs) if return_outputs else loss

    def training_step(self, *arguments: Any, **options: Any) -> Any:
        loss = super().training_step(*arguments, **options)
        gradients = {f"gradient.{name}": p.grad.clone() for name, p in self.model.named_parameters()}
        save_file(self.found | gradients, self.target)
        return loss


def main(directory: Path, pairs: Path) -> None:
    rows = json.loads(pairs.read_text())
    trainer = Recording(
        model=LlamaForSequenceClassification.from_pretrained(directory / "reward"),
        args=RewardConfig(
            output_dir=str(directory / "out"), per_device_train_batch_size=len(rows), gradient_accumulation_steps=1,
            max_steps=1, save_strategy="no", report_to=[], bf16=False, gradient_checkpointing=False, use_cpu=True,
            max_grad_norm=0.0, disable_tqdm=True, seed=1,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(directory / "tokenizer"),
    )  # fmt: skip
    trainer.target = directory / f"{pairs.stem}.safetensors"
    torch.manual_seed(0)
    trainer.train()


if __name__ == "__main__":
    for path in sorted(Path(sys.argv[1]).glob("pairs-*.json")):
        main(Path(sys.argv[1]), path)
