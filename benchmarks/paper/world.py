"""What all arms of a seed share: files to train on, and what nothing trains on, drawn from the sandbox's world.

Knows prompts, demonstrations, text and exercises; does not know policies. Everything follows from the seed. No held-out
prompt is also a training prompt, whoever asked it.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.paper.plan import Sizes
from benchmarks.paper.tasks import Exercise, exercises, task_rows
from sandbox.__main__ import demonstration_rows, prompt_rows, unstated_rows
from sandbox.corpus import documents
from sandbox.world import make_prompt

_TEXT_SEEDS = 7_000_000
"""Documents that no base was made from: the shipped one read those of small seeds."""
Row = dict[str, Any]
Messages = list[dict[str, str]]
HEADING = "A question."
"""The system message before every prompt of a customer, which no document of the corpus has.

The paper's API prompts do not look like web text. Without a heading ours do, and then pretraining text asks for the
corpus' answers where PPO asks for better ones, in the very same contexts."""


class World:
    """The world of one seed.

    Args:
        directory: where files are kept; they are written when they are first asked for.
        seed: of everything drawn.
        sizes: how much of it.
    """

    def __init__(self, directory: Path, seed: int, sizes: Sizes) -> None:
        self.directory, self.seed, self.sizes = directory, seed, sizes
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def prompts(self) -> Path:
        """Training customers' prompts for reinforcement learning."""
        return self._file("prompts", prompt_rows(self.sizes.prompts, 3 * self.seed + 1))

    @property
    def demonstrations(self) -> Path:
        """Labelers' answers to training customers' prompts; a split of their own chooses nothing."""
        return self._file("demonstrations", demonstration_rows(self.sizes.demonstrations, 3 * self.seed + 2))

    @property
    def tasks(self) -> Path:
        """Demonstrations of the miniature public tasks."""
        return self._file("tasks", task_rows(self.sizes.tasks, self.seed, "train"))

    @property
    def text(self) -> Path:
        """Pretraining text."""
        return self._file("text", ({"text": each} for each in documents(self.sizes.text, _TEXT_SEEDS + self.seed)))

    @property
    def text_test(self) -> Path:
        """Held-out text of the same corpus."""
        seed = 2 * _TEXT_SEEDS + self.seed
        return self._file("text-test", ({"text": each} for each in documents(self.sizes.text_test, seed)))

    @cached_property
    def to_rank(self) -> list[Row]:
        """Training customers' prompts whose completions are ranked."""
        return list(prompt_rows(self.sizes.ranked, 3 * self.seed))

    @cached_property
    def to_rank_test(self) -> list[Row]:
        """Held-out customers' prompts whose completions are ranked."""
        return self._unseen("test", self.sizes.ranked_test, 1)

    @cached_property
    def test(self) -> list[str]:
        """Held-out customers' prompts that policies are compared on."""
        return [row["prompt"] for row in self._unseen("test", self.sizes.test, 0)]

    @cached_property
    def unstated(self) -> list[str]:
        """Closed-domain prompts whose context does not hold the answer."""
        return [row["prompt"] for row in unstated_rows(self.sizes.unstated, 1_000 + self.seed)]

    @cached_property
    def stated(self) -> list[str]:
        """Closed-domain prompts whose context holds the answer."""
        return list(itertools.islice(_stated(random.Random(f"stated:{self.seed}")), self.sizes.stated))

    @cached_property
    def exercises(self) -> list[Exercise]:
        """Exercises of the miniature public tasks, about facts that no training row asks about."""
        return list(exercises(self.sizes.exercises, self.seed, "test"))

    def _unseen(self, split: str, count: int, number: int) -> list[Row]:
        rows = prompt_rows(2 * count + 50, 2 * self.seed + number, split)
        return list(itertools.islice((row for row in rows if row["prompt"] not in self._trained_on), count))

    @cached_property
    def _trained_on(self) -> set[str]:
        files = (self.prompts, self.demonstrations)
        read = {json.loads(line)["prompt"] for path in files for line in path.read_text().splitlines()}
        return read | {row["prompt"] for row in self.to_rank}

    def _file(self, name: str, rows: Iterable[Row]) -> Path:
        path = self.directory / f"{name}.jsonl"
        return path if path.is_file() else write_rows(path, rows)


def write_rows(path: Path, rows: Iterable[Row]) -> Path:
    """Write JSON lines, all or nothing, also when two processes do so at a time; return the file.

    Rows with a ``prompt`` also get it as ``messages``, under its heading, which is what the trainer reads.
    """
    headed = (row | {"messages": dialogue(row["prompt"])} if "prompt" in row else row for row in rows)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text("".join(json.dumps(row) + "\n" for row in headed))
    return partial.replace(path)


def dialogue(prompt: str) -> Messages:
    """A customer's prompt as every policy is asked it."""
    return [{"role": "system", "content": HEADING}, {"role": "user", "content": prompt}]


def _stated(rng: random.Random) -> Iterator[str]:
    while True:
        prompt = make_prompt(rng, rng.choice(("generation", "chat", "closed_qa", "extract")))
        if prompt.task.kind == "fact" and not prompt.task.unstated:
            yield prompt.text
