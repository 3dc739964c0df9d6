"""Ten rounds of ranked completions from the sandbox's world: what a reward model is trained on, round by round.

What is asked changes over the rounds (half of the use cases come mostly early, the others mostly late), and so does
who answers: in the first round the base model wrote all completions, in the last one a fine-tuned policy, in between
some are by each. Held-out rows come from other customers, half of them as in the first round, half as in all ten.
Knows prompts, completions and labelers; the reward models are the benchmark's.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, log
from deploy.base import SHIPPED
from sandbox.__main__ import comparison_rows, demonstration_rows, prompt_rows
from sandbox.gold import judge

ROUNDS, K = 10, 4
EARLY = frozenset({"generation", "closed_qa", "extract"})
"""Use cases of half of the prompts, asked mostly in the early rounds; the others are asked mostly in the late ones."""
Row = dict[str, Any]


def base_share(number: float) -> float:
    """Return the share of completions that the base model wrote in a round, from 0."""
    return 1 - number / (ROUNDS - 1)


def early_share(number: int) -> float:
    """Return the share of prompts of the early use cases in a round, from 0."""
    return 0.8 - 0.6 * number / (ROUNDS - 1)


def deal(prompts: Sequence[Row], rounds: Sequence[int], size: int, seed: int) -> list[list[Row]]:
    """Return ``size`` prompts for each of these rounds, none twice.

    Args:
        prompts: to draw from, at least as many as are dealt.
        rounds: numbers of the rounds, from 0; each has its share of the early use cases, as far as there are any.
        size: prompts of a round.
        seed: of the draw.
    """
    rng = random.Random(f"deal:{seed}:{rounds}")
    shuffled = rng.sample(list(prompts), len(prompts))
    early = [prompt for prompt in shuffled if prompt["use_case"] in EARLY]
    late = [prompt for prompt in shuffled if prompt["use_case"] not in EARLY]
    dealt = []
    for number in rounds:
        count = min(round(size * early_share(number)), len(early))
        count = max(count, size - len(late))
        dealt.append(early[:count] + late[: size - count])
        early, late = early[count:], late[size - count :]
    return dealt


def answered(prompt: Row, by_base: Sequence[Row], by_policy: Sequence[Row], number: float, rng: random.Random) -> Row:
    """Return a prompt with K completions as its round has them: so many by the base model, the others by the policy."""
    count = sum(rng.random() < base_share(number) for _ in range(K))
    responses = [*by_base[:count], *by_policy[: K - count]]
    return {**prompt, "responses": [{"text": each["text"], "finished": each["finished"]} for each in responses]}


def gold_pairs(row: Row) -> list[tuple[int, int]]:
    """Return (better, worse) of every two completions of a row that the gold taste tells apart."""
    scores = [judge(row["prompt"], each["text"], each["finished"]).score for each in row["responses"]]
    return [
        (a, b) if scores[a] > scores[b] else (b, a)
        for a, b in itertools.combinations(range(len(scores)), 2)
        if scores[a] != scores[b]
    ]


class World:
    """Files of one directory: the policies, the completions, and each seed's rounds.

    Attributes:
        sft: policy directory that reward models start from.
        demonstrations: file whose rows score 0 on average.
    """

    def __init__(self, directory: Path, prompts_a_round: int, held_out: int) -> None:
        """Make what is not there yet: a fine-tuned policy, and completions of all prompts by it and by the base."""
        self.size = prompts_a_round
        self.directory = directory / f"world-{prompts_a_round}-{held_out}"
        self.sft = self.directory / "sft"
        self.demonstrations = self.directory / "demonstrations.jsonl"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.prompts = {
            "train": list(prompt_rows(prompts_a_round * ROUNDS, 1, "train")),
            "test": list(prompt_rows(held_out, 1, "test")),
        }
        if not self.demonstrations.is_file():
            write_rows(self.demonstrations, demonstration_rows(1200, 1))
        if not (self.sft / "metrics.json").is_file():
            _stage("sft", self.sft, policy=SHIPPED, demonstrations=[self.demonstrations], epochs=2)
        self.completions = {
            (split, name): self._sampled(split, name, policy)
            for split in self.prompts
            for name, policy in (("base", SHIPPED), ("sft", self.sft))
        }

    def rounds(self, seed: int) -> list[list[Row]]:
        """Return ten rounds of labelled rows, as ``seed`` deals prompts to rounds, and labelers to prompts."""
        dealt = deal(self.prompts["train"], range(ROUNDS), self.size, seed)
        return [self._labelled("train", prompts, number, seed) for number, prompts in enumerate(dealt)]

    def held_out(self, seed: int) -> dict[str, list[Row]]:
        """Return labelled rows that nothing trains on: as in the first round (``first``), and as in all (``all``)."""
        half = len(self.prompts["test"]) // 2
        (first,) = deal(self.prompts["test"], [0], half, seed)
        everything = deal(self.prompts["test"], range(ROUNDS), half // ROUNDS, seed)
        later = [self._labelled("test", prompts, number, seed) for number, prompts in enumerate(everything)]
        return {"first": self._labelled("test", first, 0, seed + 1), "all": [row for rows in later for row in rows]}

    def _labelled(self, split: str, prompts: Iterable[Row], number: int, seed: int) -> list[Row]:
        rng = random.Random(f"answers:{seed}:{number}:{split}")
        base, sft = (self.completions[split, name] for name in ("base", "sft"))
        rows = [answered(prompt, base[prompt["id"]], sft[prompt["id"]], number, rng) for prompt in prompts]
        told_apart = [row for row in rows if len({each["text"] for each in row["responses"]}) > 1]
        return list(comparison_rows(told_apart, "training", seed * ROUNDS + number))

    def _sampled(self, split: str, name: str, policy: Path) -> dict[str, list[Row]]:
        file = self.directory / f"{split}-{name}.jsonl"
        if not file.is_file():
            prompts = self.directory / f"{split}.jsonl"
            write_rows(prompts, self.prompts[split])
            log(f"sampling {K} completions of {len(self.prompts[split])} {split} prompts by {name}")
            _stage("generate", file, policy=policy, prompts=[prompts], n=K)
        return {row["id"]: row["completions"] for row in map(json.loads, file.read_text().splitlines())}


def write_rows(path: Path, rows: Iterable[Row]) -> Path:
    """Write JSON lines, all or nothing; return the file."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return partial.replace(path)


def _stage(stage: str, output: Path, **options: Any) -> None:
    """Run a trainer stage as it is run by hand, with the sandbox's preset."""
    words = [sys.executable, "-m", "trainer", stage, "--preset", "sandbox", "--output", str(output)]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    subprocess.run(words, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
