"""``python -m trainer register``: puts a pretrained model into the registry; everything starts from it.

Works on any causal language model directory that transformers loads and whose tokenizer has a chat template.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from feedback.client import Ledger
from trainer.data.reading import Prompt, render
from trainer.models.policies import load_policy, load_tokenizer
from trainer.rounds import report
from trainer.settings.service import TrainerSettings
from trainer.stages.probe import answer_probe

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


def probe_model(directory: Path) -> list[dict[str, Any]]:
    """Return greedy answers of the model to a few prompts, with log-probabilities."""
    tokenizer = load_tokenizer(directory)
    prompts = []
    for text in DEFAULT_PROMPTS:
        messages = [{"role": "user", "content": text}]
        prompts.append(Prompt(id=text, messages=messages, prompt_ids=render(tokenizer, messages)))
    return answer_probe(load_policy(directory), tokenizer, prompts)
