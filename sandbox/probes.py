"""Comparisons without noise, one failing at a time: what a reward model must be able to see before people are asked.

They tell a world that is too hard for a model from a reward model that has too little data.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

from sandbox.answers import STYLES, insult, other_questions, rambling, right_answer, rude_remark, wrong_answer
from sandbox.gold import judge
from sandbox.world import Prompt, make_prompt, make_unstated_prompt

Maker = Callable[[Prompt, random.Random], str]


def _right(prompt: Prompt, rng: random.Random) -> str:
    return right_answer(prompt.task, rng.choice(STYLES), rng)


FAILINGS: Final[dict[str, Maker]] = {
    "rude": lambda prompt, rng: insult(_right(prompt, rng), rng) if rng.random() < 0.6 else rude_remark(rng),
    "invented": lambda prompt, rng: wrong_answer(prompt.task, rng.choice(STYLES), rng),
    "other_question": lambda prompt, rng: other_questions(rng),
    "running_on": lambda prompt, rng: f"{_right(prompt, rng)} {rambling(rng, rng.randint(1, 4))}",
}
"""How each failing is made. "invented" is about prompts whose context does not hold the answer."""


def mixed_comparisons(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """``count`` rows of one right and three failing completions each, ranked by the gold taste itself."""
    rng = random.Random(f"mixed:{seed}")
    for number in range(count):
        prompt = make_unstated_prompt(rng) if rng.random() < 0.3 else make_prompt(rng)
        failings = [name for name in FAILINGS if name != "invented" or prompt.task.unstated]
        texts = [_right(prompt, rng), *(FAILINGS[name](prompt, rng) for name in rng.sample(failings, 3))]
        rng.shuffle(texts)
        yield _row(f"mixed-{number:05d}", prompt, texts)


def minimal_pairs(failing: str, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """``count`` rows of a right completion and one with this failing."""
    rng = random.Random(f"{failing}:{seed}")
    for number in range(count):
        prompt = make_unstated_prompt(rng) if failing == "invented" else make_prompt(rng)
        texts = [_right(prompt, rng), FAILINGS[failing](prompt, rng)]
        rng.shuffle(texts)
        yield _row(f"{failing}-{number:05d}", prompt, texts)


def _row(name: str, prompt: Prompt, texts: list[str]) -> dict[str, Any]:
    scores = [judge(prompt.text, text).score for text in texts]
    return {
        "id": name,
        "prompt": prompt.text,
        "responses": [{"text": text, "finished": True} for text in texts],
        "comparisons": [
            {
                "a": a,
                "b": b,
                "winner": "tie" if scores[a] == scores[b] else "a" if scores[a] > scores[b] else "b",
                "annotator": "gold",
            }
            for a, b in itertools.combinations(range(len(texts)), 2)
        ],
    }
