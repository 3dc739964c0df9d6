"""Preferences by a known rule that two reward trainers are given alike, in the same order.

Knows the rule, the rows and both sides' files; the models and the tokenizer are those of `benchmarks.ppo_world`. The
rule: the completion with more *good* tokens is the better one. Every completion is judged against every other of its
prompt, so that K completions are K (K - 1) / 2 pairs, all of them in one batch.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaForSequenceClassification

from benchmarks.ppo_world import EOS, FIRST_GOOD, Problem, words
from trainer.data.batches import EpochOrder
from trainer.models.scalar import ScalarModel

HELD_OUT = 300
"""Prompts that nothing trains on, for each seed."""
OPTIMIZER: dict[str, Any] = {"lr": 2e-3, "max_grad_norm": 1.0}
"""Of both sides, beside our defaults for Adam; the rate falls along a cosine to a tenth on both."""


@dataclass(frozen=True)
class Setting:
    """What is trained on.

    Attributes:
        k: completions of a prompt.
        tokens: of each prompt, and of each completion with its EOS.
        prompts: in a step.
        steps: in all.
        seed: of the rows and their order.
    """

    k: int
    tokens: int
    prompts: int
    steps: int
    seed: int = 0

    @property
    def pairs(self) -> int:
        """Pairs in a step."""
        return self.prompts * self.k * (self.k - 1) // 2


@dataclass(frozen=True)
class Ranked:
    """A prompt with its completions, best first; token ids, EOS included."""

    prompt: list[int]
    completions: list[list[int]]


def scalar_model(classifier: Path) -> ScalarModel:
    """Return our reward model with trunk and head of a sequence classifier with one label."""
    theirs = LlamaForSequenceClassification.from_pretrained(classifier)
    model = ScalarModel(theirs.model)
    model.head.load_state_dict({"weight": theirs.score.weight.detach(), "bias": torch.zeros(1)})
    return model.eval()


def ready(problem: Problem) -> Problem:
    """Write the problem, and in our layout, ``start``, the model that both sides begin with (TRL's is ``value``)."""
    problem.write()
    tokenizer = AutoTokenizer.from_pretrained(problem.directory / "policy")
    scalar_model(problem.directory / "value").save(problem.directory / "start", tokenizer)
    return problem


def draw(setting: Setting, problem: Problem, count: int, seed: int) -> list[Ranked]:
    """Return so many ranked rows."""
    generator = torch.Generator().manual_seed(seed)
    size = (count, setting.k + 1, setting.tokens)
    tokens = torch.randint(FIRST_GOOD, problem.vocabulary, size, generator=generator).tolist()
    rows = []
    for prompt, *completions in tokens:
        ended = [[*completion[:-1], EOS] for completion in completions]
        rows.append(Ranked(prompt, sorted(ended, key=lambda each: -gold(each, problem))))
    return rows


def gold(completion: Sequence[int], problem: Problem) -> int:
    """What the rule counts."""
    return sum(token in problem.good for token in completion)


def write(setting: Setting, problem: Problem, directory: Path) -> Path:
    """Write ``preferences.jsonl`` for ours and ``pairs.json`` for TRL's, in the order in which ours takes the rows."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = draw(setting, problem, setting.prompts * setting.steps, setting.seed)
    lines = [row_of(number, row) for number, row in enumerate(rows)]
    (directory / "preferences.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    order = EpochOrder(len(rows), setting.prompts, setting.seed)
    taken = [rows[number] for _ in range(setting.steps) for number in order.next()]
    (directory / "pairs.json").write_text(json.dumps([pair for row in taken for pair in pairs_of(row)]))
    (directory / "setting.json").write_text(json.dumps(asdict(setting)))
    return directory


def row_of(number: int, row: Ranked) -> dict[str, Any]:
    """A row in the form of our preference files; numbers are padded, so that ids sort as rows do."""
    # Strictly ranked, the tied ones by place: both sides get the same pairs.
    responses = [
        {"text": words(completion[:-1]), "finished": True, "rank": rank}
        for rank, completion in enumerate(row.completions)
    ]
    return {"id": f"p{number:05}", "prompt": words(row.prompt), "responses": responses, "split": "train"}


def pairs_of(row: Ranked) -> list[dict[str, list[int]]]:
    """All pairs of a row in the tokenized form that TRL's trainer takes."""
    return [
        {"chosen_ids": row.prompt + better, "rejected_ids": row.prompt + worse}
        for better, worse in itertools.combinations(row.completions, 2)
    ]
