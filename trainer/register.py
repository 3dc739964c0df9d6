"""``python -m trainer register``: puts a pretrained model into the registry; everything starts from it.

Works on any causal language model directory that transformers loads and whose tokenizer has a chat template.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from feedback.client import Ledger
from trainer import report
from trainer.generate import run as generate
from trainer.presets import resolve
from trainer.settings_evaluate import GenerateSettings
from trainer.settings_service import TrainerSettings

DEFAULT_PROMPTS = ("Hello!", "Where is the river?", "Name three colours.", "Write a short story.")


def main(arguments: Sequence[str]) -> int:
    """Store, probe and record the model; prints the new policy's record as JSON."""
    parser = argparse.ArgumentParser(prog="python -m trainer register", description=__doc__)
    parser.add_argument("--policy", type=Path, required=True, help="model directory in Hugging Face layout")
    given = parser.parse_args(arguments)
    settings = TrainerSettings.load()
    ledger = Ledger.connect(settings)
    policy = report.register_base(ledger, settings.artifact_root, given.policy, probe_model(given.policy))
    print(json.dumps({"version": policy.version, "path": policy.path, "sha256": policy.sha256}))
    return 0


def probe_model(directory: Path) -> list[dict[str, object]]:
    """Return greedy answers of the model to a few prompts, with log-probabilities."""
    with tempfile.TemporaryDirectory() as scratch:
        prompts, output = Path(scratch, "prompts.jsonl"), Path(scratch, "probe.jsonl")
        rows = [{"id": str(n), "prompt": text} for n, text in enumerate(DEFAULT_PROMPTS)]
        prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
        given = {"policy": directory, "prompts": [prompts], "output": output, "greedy": True, "logprobs": True}
        generate(resolve("generate", GenerateSettings, "paper", {**given, "max_completion_tokens": 16, "threads": 1}))
        return report.probe_of(output)
