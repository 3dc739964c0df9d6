"""Runs under TRL 1.12: its small functions on given inputs, in a directory with ``given.safetensors``."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file
from trl.experimental.ppo import ppo_trainer
from trl.experimental.utils import first_true_indices
from trl.trainer.utils import entropy_from_logits, selective_log_softmax

PAD, STOP = 0, 1


def main(directory: Path) -> None:
    given = load_file(directory / "given.safetensors")
    entries, mask = given["entries"], given["mask"]
    found = {
        "selective_log_softmax": selective_log_softmax(given["logits"], given["tokens"]),
        "entropy_from_logits": entropy_from_logits(given["logits"]),
        "masked_mean": ppo_trainer.masked_mean(entries, mask),
        "masked_whiten": ppo_trainer.masked_whiten(entries, mask),
        "masked_whiten_keeping_mean": ppo_trainer.masked_whiten(entries, mask, shift_mean=False),
        "first_true_indices": first_true_indices(given["responses"] == STOP),
        "truncate_response": ppo_trainer.truncate_response(STOP, PAD, given["responses"]),
    }
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, directory / "recorded.safetensors")
