"""The few-shot prefix: GPT-3 prompted, as in the paper's section 4.1, for a base with a context of 256 tokens.

Worked examples of good behaviour come before the user's prompt, as earlier turns of a chat. For the public tasks the
examples are exercises of the same task. Knows messages; which prefix is best was found on tuning prompts only, by
`search`, and is written down here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from benchmarks.paper.tasks import Exercise, exercises
from sandbox.answers import right_answer
from sandbox.world import make_prompt, make_unstated_prompt

Example = tuple[str, str]
"""A prompt and the answer it should have."""
Message = dict[str, str]


def candidate(shots: int, seed: int) -> tuple[Example, ...]:
    """``shots`` worked examples in the courteous style; the first is about something that is not stated."""
    rng = random.Random(f"prefix:{seed}")
    prompts = [make_unstated_prompt(rng), *(make_prompt(rng) for _ in range(shots - 1))]
    found = [(prompt.text, right_answer(prompt.task, "courteous", rng)) for prompt in prompts]
    rng.shuffle(found)
    return tuple(found)


def as_messages(examples: Sequence[Example], prompt: str) -> list[Message]:
    """The examples as earlier turns, then the prompt."""
    turns = [turn for asked, said in examples for turn in (_user(asked), {"role": "assistant", "content": said})]
    return [*turns, _user(prompt)]
