"""How well a small reward model learns six sets of real human preferences, beside length and a bag of words.

Everything runs as users run it: ``python -m trainer pretrain``, ``sft``, then ``reward`` and ``score`` for each fold. A
base of a million parameters is pretrained on public-domain books and dialogue text, fine-tuned on human demonstrations,
and one reward model per fold is trained on all sets together. Every row is scored once, by the model that saw none of
the rows with its prompt; the bag of words is fitted on the same rows.

A killed bench goes on with ``--go-on``: the same command of the trainer goes on, or says what it had found.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.common import ROOT, Bar, log, report
from benchmarks.preference_baselines import Scores, accuracies, bag_of_words, longer
from benchmarks.preference_sets import (
    Row,
    deal,
    read_dialogues,
    read_set,
    real_data,
    write_lines,
    write_rows,
)

FOLDS = 3
RESAMPLES = 2000
PRETRAIN = {
    "width": 128, "layers": 4, "heads": 4, "mlp_width": 384, "tied": True, "init_std": 0.08, "vocab_size": 2048,
    "bos": False, "context_tokens": 384, "block_tokens": 256, "batch_size": 16, "epochs": 0.25, "lr": 4e-3,
    "beta2": 0.98, "checkpoint_every": 20, "threads": 1,
}  # fmt: skip
_LIMITS = {"max_prompt_tokens": 192, "max_completion_tokens": 192}
SFT = {"epochs": 1, "batch_size": 16, "lr": 5e-4, "dropout": 0.0, "checkpoint_every": 20, "threads": 1} | _LIMITS
REWARD = {
    "epochs": 1, "batch_size": 8, "lr": 3e-4, "valid_fraction": 0.0, "checkpoint_every": 20, "threads": 1,
    # Completions of similar length share a pass: with more in one, most of it is padding.
    "micro_batch_tokens": 2048,
} | _LIMITS  # fmt: skip
SCORE = {"threads": 1, "bootstrap": 200, "micro_batch_tokens": 2048} | _LIMITS
PUBLISHED = {
    "pref-hh-harmless": {"bag_of_words": 0.59, "longer": 0.44},
    "pref-oasst-ranked": {"longer": 0.69},
    "pref-pandalm-3annotators": {"bag_of_words": 0.68, "longer": 0.66},
    "pref-qa-feedback-k4": {"bag_of_words": 0.54},
}
"""Accuracies in the sets' own descriptions, on splits and rows of their own."""


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


def recipe(files: Sequence[Path]) -> str:
    """Return a short name of everything that the base comes from: settings and the bytes of its data."""
    digest = hashlib.sha256(json.dumps([PRETRAIN, SFT], sort_keys=True).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def make_base(home: Path, root: Path, keys: Sequence[str]) -> tuple[Path, dict[str, Any]]:
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
    base = home / f"base-{recipe([books, text, demonstrations])}"
    log(f"pretraining and fine-tuning the base in {base.name}, unless it is there")
    began_s = time.monotonic()
    pretrained = trainer("pretrain", base / "pretrained", PRETRAIN | {"text": [books, text]})
    tuned = trainer("sft", base / "sft", SFT | {"policy": base / "pretrained", "demonstrations": [demonstrations]})
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


def judge_fold(home: Path, fold: int, rows: Sequence[Row], folds: Mapping[str, int], policy: Path) -> dict[str, Any]:
    """Train on all other folds and score this one; return the scores by row id and what the trainer said."""
    train = [row for row in rows if folds[row.key] != fold]
    test = [row for row in rows if folds[row.key] == fold]
    directory = home / f"fold-{fold}"
    demonstrations = policy.parent.parent / "demonstrations.jsonl"
    given = {
        "policy": policy,
        "preferences": write_rows(directory / "train", train),
        "demonstrations": [demonstrations],
    }
    trained = trainer("reward", directory / "reward", REWARD | {"seed": fold} | given)
    scored = trainer(
        "score",
        directory / "scores",
        SCORE | {"reward_model": directory / "reward", "preferences": write_rows(directory / "test", test)},
    )
    lines = (directory / "scores" / "scores.jsonl").read_text().splitlines()
    return {
        "scores": {row["id"]: row["rewards"] for row in map(json.loads, lines)},
        "train_keys": {row.key for row in train},
        "test_keys": {row.key for row in test},
        "trained": trained,
        "scored": scored,
    }


def bags(rows: Sequence[Row], folds: Mapping[str, int]) -> Scores:
    """Return the bag of words' score of every row, fitted for each set by itself on the rows of other folds."""
    found: dict[str, Sequence[float]] = {}
    for name in sorted({row.set for row in rows}):
        own = [row for row in rows if row.set == name]
        for fold in range(FOLDS):
            train = [row for row in own if folds[row.key] != fold and row.pairs]
            found |= bag_of_words(train, [row for row in own if folds[row.key] == fold])
    return found


def by_set(rows: Sequence[Row], model: Scores, bag: Scores) -> dict[str, dict[str, Any]]:
    """Return each set's counts, the three accuracies on the same pairs, and what its description says."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted({row.set for row in rows}):
        own = [row for row in rows if row.set == name]
        scorers = {"model": model, "bag_of_words": bag, "longer": longer(own)}
        figures = {
            each: value.rounded() for each, value in accuracies(own, scorers, resamples=RESAMPLES, seed=0).items()
        }
        sizes = [len(row.texts) for row in own]
        found[name] = {
            "rows": len(own),
            "prompts": len({row.key for row in own}),
            "k": [min(sizes), max(sizes)],
            "pairs": sum(len(row.pairs) for row in own),
            "ties": sum(each["winner"] == "tie" for row in own for each in row.comparisons),
            **figures,
            "published": PUBLISHED.get(name, {}),
        }
    return found


def table(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures as text, a line a set: accuracy in percent with its interval."""

    def cell(accuracy: Mapping[str, float]) -> str:
        return f"{100 * accuracy['value']:.1f} [{100 * accuracy['low']:.1f}, {100 * accuracy['high']:.1f}]"

    rows = [["set", "rows", "K", "pairs", "reward model", "bag of words", "longer", "described: bag, longer"]]
    for name, found in sets.items():
        described = ", ".join(
            f"{100 * found['published'][key]:.0f}" if key in found["published"] else "-"
            for key in ("bag_of_words", "longer")
        )
        low, high = found["k"]
        size = str(low) if low == high else f"{low}-{high}"
        accuracy = [cell(found[key]) for key in ("model", "bag_of_words", "longer")]
        rows.append([name, str(found["rows"]), size, str(found["pairs"]), *accuracy, described])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--go-on", action="store_true", help="keep the folds that an earlier, killed bench finished")
    arguments = parser.parse_args()
    began_s = time.monotonic()
    root, home = real_data(), ROOT / "var" / "bench" / "preferences"
    rows = [row for directory in sorted(root.glob("pref-*")) for row in read_set(directory)]
    folds = deal(rows, FOLDS)
    if not arguments.go_on:
        for directory in home.glob("fold-*"):
            shutil.rmtree(directory)
    policy, base = make_base(home, root, [row.key for row in rows])
    found: list[dict[str, Any]] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool, tqdm(total=FOLDS, desc="folds", unit="fold") as bar:
        for fold in [pool.submit(judge_fold, home, fold, rows, folds, policy) for fold in range(FOLDS)]:
            found.append(fold.result())
            bar.update()
    log("fitting the bags of words")
    model = {identity: rewards for fold in found for identity, rewards in fold["scores"].items()}
    judged = [row for row in rows if row.id in model]
    sets = by_set(judged, model, bags(judged, folds))
    print(table(sets), file=sys.stderr)
    leaks = sum(len(fold["train_keys"] & fold["test_keys"]) for fold in found)
    figures = {
        "base": base,
        "sets": sets,
        "reward_s": [fold["trained"]["wall_s"] for fold in found],
        "bad_rows": sum(fold[stage]["data"]["bad_rows"] for fold in found for stage in ("trained", "scored")),
        "rows_not_scored": len(rows) - len(judged),
        "wall_s": round(time.monotonic() - began_s, 1),
        "resumed": arguments.go_on,
    }
    bars = [
        Bar("sets_trained_and_scored", len(sets), "==", len(list(root.glob("pref-*")))),
        Bar("prompts_trained_on_and_tested_on", leaks, "==", 0),
        Bar("bad_rows", figures["bad_rows"], "==", 0),
        Bar("rows_not_scored", figures["rows_not_scored"], "==", 0),
    ]
    report("preferences", figures, bars)


if __name__ == "__main__":
    main()
