"""One run of the labeler model's benchmark: rows that people judged, and what a reward model and a fit make of them.

Knows people, rows, the stage `reward` and the fit behind it; the plan of runs and their summary are the benchmark's.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import ROOT
from benchmarks.judged_worlds import Judges, as_split, judged_rows
from benchmarks.ranked_rounds import World, write_rows
from trainer.data.reading import Limits, read_preferences
from trainer.models.policies import load_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.settings.presets import resolve
from trainer.settings.stages import RewardSettings
from trainer.stages import reward
from trainer.stages.labelers import LabelerTerms
from trainer.stages.score import judge

DIRECTORY = ROOT / "var" / "bench" / "labeler-model"
TRAIN_ROWS, HELD_OUT_ROWS, FIT_ROWS, REFERENCES = 800, 500, 900, 2
LIMITS = Limits(prompt_tokens=192, completion_tokens=32)
Figures = dict[str, Any]


def measure(world: World, name: str, judges: Judges, seed: int, options: Mapping[str, Any]) -> Figures:
    """Train one reward model on its own labels; return its agreement with honest labels, and what it says of people."""
    output = DIRECTORY / "models" / name
    for left in (output, output.with_name(output.name + ".partial")):  # of a run that was interrupted
        shutil.rmtree(left, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = name.split("-")[0]
    everybody_honest = Judges.two_tastes() if part == "tastes" else Judges.ordinary(10)
    labelled = part == "bias"
    rows = as_split(judged_rows(world, judges, "train", seed, TRAIN_ROWS, features=labelled), "train")
    if not labelled:
        rows += as_split(judged_rows(world, everybody_honest, "test", seed, HELD_OUT_ROWS), "valid")
    file = write_rows(output.with_suffix(".jsonl"), rows)
    settings = {"output": output, "policy": world.sft, "preferences": [file], "seed": seed, "checkpoint_every": 0}
    found = reward.run(resolve("reward", RewardSettings, "sandbox", settings | dict(options)))
    kept: Figures = {key: found[key] for key in ("pairs", "groups", "train_cpu_s", "accuracy")}
    if "labelers" in found:
        kept["labelers"] = json.loads((output / "labelers.json").read_text())["labelers"]
    kept["by_group"] = {group: each.get("accuracy") for group, each in found["by_labeler_group"].items()}
    if "unnamed" in found:
        unnamed = found["unnamed"]["by_labeler_group"]
        kept["by_group_unnamed"] = {group: each.get("accuracy") for group, each in unnamed.items()}
    shutil.rmtree(output)
    file.unlink()
    return kept


def fitted(world: World, judges: Judges, seed: int) -> Figures:
    """Fit labelers of fresh rows on the rewards of a reward model that saw none of them; return what is found."""
    model = reference(world, seed % REFERENCES)
    rewards: dict[str, dict[str, float]] = json.loads((model / "rewards.json").read_text())
    rows = judged_rows(world, judges, "test", seed, FIT_ROWS, features=True)
    output = DIRECTORY / "models" / f"fit-{seed}"
    output.mkdir(parents=True, exist_ok=True)
    file = write_rows(output / "rows.jsonl", rows)
    groups = read_preferences([file], load_tokenizer(model), LIMITS)
    terms = LabelerTerms(groups, RewardSettings(output=output, preferences=[file], labeler_model="bias"))
    gaps = []
    for group, row in zip(groups, rows, strict=True):
        worth = [rewards[row["id"]][key_of(each)] for each in row["responses"]]
        gaps += [worth[chosen] - worth[rejected] for chosen, rejected in group.pairs]
    terms.saw(groups, torch.tensor(gaps))
    terms.save(output)
    labelers = json.loads((output / "labelers.json").read_text())["labelers"]
    shutil.rmtree(output)
    return {"labelers": labelers, "pairs": len(gaps)}


def reference(world: World, number: int) -> Path:
    """Return a reward model of labelers without bias, with its rewards of all completions of the test prompts."""
    output = DIRECTORY / "models" / f"reference-{number}"
    if (output / "rewards.json").is_file():
        return output
    rows = judged_rows(world, Judges.unbiased(), "train", 500 + number, FIT_ROWS)
    file = write_rows(output.with_suffix(".jsonl"), as_split(rows, "train"))
    settings = {"output": output, "policy": world.sft, "preferences": [file], "seed": number}
    reward.run(resolve("reward", RewardSettings, "sandbox", settings))
    every = [
        prompt | {"comparisons": [], "responses": [
            *world.completions["test", "base"][prompt["id"]], *world.completions["test", "sft"][prompt["id"]]
        ]}
        for prompt in world.prompts["test"]
    ]  # fmt: skip
    told_apart = [row for row in every if len({each["text"] for each in row["responses"]}) > 1]
    file = write_rows(output.with_suffix(".jsonl"), told_apart)
    tokenizer = load_tokenizer(output)
    groups = read_preferences([file], tokenizer, LIMITS)
    judged = judge(ScalarModel.load(output), groups, int(tokenizer.pad_token_id), 16384)
    rewards = {
        row["id"]: dict(zip(map(key_of, row["responses"]), each.rewards, strict=True))
        for row, each in zip(told_apart, judged, strict=True)
    }
    (output / "rewards.json").write_text(json.dumps(rewards))
    return output


def key_of(response: Mapping[str, Any]) -> str:
    """Return what tells a completion of a prompt from the others."""
    return f"{response['finished']:d} {response['text']}"
