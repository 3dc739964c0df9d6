"""The trainer's command line as child processes: a base, and a reward model with its scores for each fold.

Knows stages, their settings and who may be trained on what; does not know figures.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, log
from benchmarks.preference_sets import Row, read_dialogues, write_lines, write_rows


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How much is spent.

    Attributes:
        width: of the model; a head has 32.
        layers: of the model.
        vocabulary: tokens.
        epochs: passes over the base's text.
        folds: parts of the rows, each scored by a model of its own.
        prompt_bytes: how much of a conversation is read, from its end.
        completion_tokens: how much of a completion is read, from its start.
    """

    width: int
    layers: int
    vocabulary: int
    epochs: float
    folds: int
    prompt_bytes: int
    completion_tokens: int

    @property
    def model(self) -> dict[str, int]:
        """Return the trainer's options for a new model."""
        return {
            "width": self.width, "heads": self.width // 32, "layers": self.layers, "mlp_width": 3 * self.width,
            "vocab_size": self.vocabulary,
        }  # fmt: skip

    @property
    def limits(self) -> dict[str, int]:
        """Return the trainer's limits: a prompt may take all that a completion leaves of the context."""
        left = PRETRAIN["context_tokens"] - self.completion_tokens
        return {"max_prompt_tokens": left, "max_completion_tokens": self.completion_tokens}


RECIPES = {
    "full": Recipe(width=128, layers=4, vocabulary=2048, epochs=1.0, folds=5, prompt_bytes=250, completion_tokens=184),
    "quick": Recipe(width=64, layers=2, vocabulary=1024, epochs=0.15, folds=3, prompt_bytes=200, completion_tokens=128),
}
PRETRAIN: dict[str, Any] = {
    "tied": True, "init_std": 0.08, "bos": False, "context_tokens": 512, "block_tokens": 256, "batch_size": 16,
    "lr": 4e-3, "beta2": 0.98, "checkpoint_every": 20, "threads": 1,
}  # fmt: skip
SFT = {"epochs": 1, "batch_size": 16, "lr": 5e-4, "dropout": 0.0, "checkpoint_every": 20, "threads": 1}
REWARD = {
    "epochs": 1, "batch_size": 8, "lr": 3e-4, "valid_fraction": 0.0, "checkpoint_every": 20, "threads": 1,
    # Completions of similar length share a pass: with more in one, most of it is padding.
    "micro_batch_tokens": 2048,
}  # fmt: skip
OWN_SET = {"batch_size": 4, "lr": 1e-3}
"""What is different for a set by itself: some have a hundred rows, so few steps. Three times the rate was better on one
fold of one set, the only one on which it was tried."""
SCORE = {"threads": 1, "bootstrap": 200, "micro_batch_tokens": 2048}


def options(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as options of the trainer's command line; paths in lists follow one option."""
    found: list[str] = []
    for name, value in settings.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{option}" if value else f"--no-{option}")
        else:
            values = value if isinstance(value, list) else [value]
            found += [f"--{option}", *map(str, values)]
    return found


def trainer(stage: str, output: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Run a stage as a child process, its words in ``OUTPUT.log``; return its metrics; a failure ends the bench."""
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "trainer", stage, *options({"output": output} | dict(settings))]
    with output.with_name(f"{output.name}.log").open("a+", encoding="utf-8") as words:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=words,
            text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            words.seek(0)
            tail = words.read().strip().splitlines()[-1:]
            raise SystemExit(f"trainer {stage} ended with {done.returncode}: {''.join(tail)}")
    metrics: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return metrics


def fingerprint(recipe: Recipe, files: Sequence[Path]) -> str:
    """Return a short name of everything that the base comes from: settings and the bytes of its data."""
    digest = hashlib.sha256(json.dumps([PRETRAIN, SFT, asdict(recipe)], sort_keys=True).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def make_base(home: Path, root: Path, keys: Sequence[str], recipe: Recipe) -> tuple[Path, dict[str, Any]]:
    """Return the fine-tuned policy's directory, made now or earlier by this recipe, and what is known of it."""
    dialogues = read_dialogues(root, keys)
    home.mkdir(parents=True, exist_ok=True)
    demonstrations, text = home / "demonstrations.jsonl", home / "dialogues.jsonl"
    write_lines(
        demonstrations,
        (
            {"id": f"d{n}", "prompt": prompt, "response": answer}
            for n, (prompt, answer) in enumerate(dialogues.demonstrations)
        ),
    )
    spoken = [f"User: {prompt}\nAssistant:{answer}" for prompt, answer in dialogues.demonstrations]
    write_lines(text, ({"text": each} for each in spoken + [f"User: {prompt}\n" for prompt in dialogues.prompts]))
    books = root / "text-public-domain-books" / "books.jsonl.gz"
    base = home / f"base-{fingerprint(recipe, [books, text, demonstrations])}"
    log(f"pretraining and fine-tuning the base in {base.name}, unless it is there")
    began_s = time.monotonic()
    pretrained = trainer(
        "pretrain", base / "pretrained", PRETRAIN | recipe.model | {"epochs": recipe.epochs, "text": [books, text]}
    )
    given = {"policy": base / "pretrained", "demonstrations": [demonstrations]} | recipe.limits
    tuned = trainer("sft", base / "sft", SFT | given)
    return base / "sft", {
        "parameters": pretrained["parameters"],
        "pretrained_tokens": pretrained["trained_tokens"],
        "pretrained_loss": pretrained["valid_loss"],
        "pretraining_s": pretrained["wall_s"],
        "sft_s": tuned["wall_s"],
        "here_s": round(time.monotonic() - began_s, 1),
        "demonstrations": len(dialogues.demonstrations),
        "left_out_as_leaks": dialogues.left_out,
    }


def judge_fold(
    home: Path, fold: int, rows: Sequence[Row], folds: Mapping[str, int], policy: Path, recipe: Recipe, own: str = ""
) -> dict[str, Any]:
    """Train on all other folds and score this one.

    Args:
        home: directory of the bench.
        fold: which one is scored.
        rows: of all sets.
        folds: fold of every key.
        policy: whose trunk the reward model gets.
        recipe: limits of lengths.
        own: name of a set that is trained on and scored by itself; all sets together without it.

    Returns:
        The scores by row id, the keys on both sides, and the metrics of both stages.
    """
    some = [row for row in rows if own in ("", row.set)]
    train = [row for row in some if folds[row.key] != fold]
    test = [row for row in some if folds[row.key] == fold]
    directory = home / f"fold-{fold}" / (own or "all")
    given = {
        "policy": policy,
        "preferences": write_rows(directory / "train", train),
        "demonstrations": [policy.parent.parent / "demonstrations.jsonl"],
        "seed": fold,
    }
    trained = trainer("reward", directory / "reward", REWARD | (OWN_SET if own else {}) | recipe.limits | given)
    judged = {"reward_model": directory / "reward", "preferences": write_rows(directory / "test", test)}
    scored = trainer("score", directory / "scores", SCORE | recipe.limits | judged)
    lines = (directory / "scores" / "scores.jsonl").read_text().splitlines()
    return {
        "scores": {row["id"]: row["rewards"] for row in map(json.loads, lines)},
        "train_keys": {row.key for row in train},
        "test_keys": {row.key for row in test},
        "trained": trained,
        "scored": scored,
    }
