"""The few-shot prefix: GPT-3 prompted, as in the paper's section 4.1, for a base with a context of 256 tokens.

Worked examples of good behaviour come before the user's prompt: as earlier turns of a chat, or as text within the one
message. Which is best was found on tuning prompts only (``python -m benchmarks.paper.tune_prefix``) and is written
down here as `PREFIX`. For the public tasks the examples are training exercises of the same task. Knows messages and
worked examples; sampling is the trainer's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, NamedTuple

from benchmarks.paper.tasks import Exercise, exercises
from sandbox.answers import STYLES, Style, right_answer
from sandbox.world import make_prompt, make_unstated_prompt

Form = Literal["turns", "text", "line"]
FORMS: Final[tuple[Form, ...]] = ("turns", "text", "line")
TUNING_SEED: Final = 100
"""Of the tuning prompts; the reported runs use seeds from 1."""
TASK_SHOTS: Final = 2
"""Worked examples before an exercise of the public tasks; the paper had as many as fit (appendix D)."""
Message = dict[str, str]
Answer = tuple[str, bool]
"""A completion, and whether it ended by itself."""


class Prefix(NamedTuple):
    """Worked examples, and how they are put before a prompt.

    ``form`` is "turns" (messages of a chat), "text" (one message that looks like the chat template's text) or "line"
    (one message, questions and answers one after the other).
    """

    form: Form
    examples: tuple[tuple[str, str], ...]


PREFIX: Final = Prefix("line", (("Is a cow an animal or a plant?", "An animal."),))
"""The best of `candidates` on the tuning prompts. All make this base worse: mean gold score -0.06, without one 0.06."""


def as_messages(prefix: Prefix, prompt: str) -> list[Message]:
    """The conversation that begins with the worked examples and ends with ``prompt``."""
    if prefix.form == "turns":
        turns = [turn for asked, said in prefix.examples for turn in (_says("user", asked), _says("assistant", said))]
        return [*turns, _says("user", prompt)]
    if prefix.form == "text":
        shown = "".join(f"{asked}\nanswer:\n{said}\nquestion: " for asked, said in prefix.examples)
    else:
        shown = "".join(f"{asked} {said} " for asked, said in prefix.examples)
    return [_says("user", shown + prompt)]


def exercise_messages(exercise: Exercise, shots: int = TASK_SHOTS) -> list[Message]:
    """The exercise after training exercises of the same task, which are the same ones every time."""
    drawn = random.Random(f"shots:{exercise.task}:{exercise.prompt}").randrange(10**9)
    shown = exercises(shots, drawn, "train", [exercise.task])
    return as_messages(Prefix("turns", tuple((each.prompt, each.answer) for each in shown)), exercise.prompt)


def candidate(form: Form, shots: int, seed: int, style: Style = "courteous") -> Prefix:
    """``shots`` worked examples in one style; of several, one is about something that is not stated."""
    rng = random.Random(f"prefix:{seed}")
    prompts = [make_prompt(rng), make_unstated_prompt(rng)][:shots]
    prompts += [make_prompt(rng) for _ in range(shots - 2)]
    found = [(prompt.text, right_answer(prompt.task, style, rng)) for prompt in prompts]
    rng.shuffle(found)
    return Prefix(form, tuple(found))


def candidates(seeds: int) -> Iterator[Prefix]:
    """Prefixes of every form, one to three examples and every style, ``seeds`` of each."""
    for seed in range(seeds):
        for shots in (1, 2, 3):
            for form in FORMS:
                yield from (candidate(form, shots, seed, style) for style in STYLES)


def search(found: Iterable[Prefix], worth: Callable[[Prefix], float], finalists: int = 1) -> list[tuple[float, Prefix]]:
    """The best ``finalists`` prefixes with what they are worth, best first; the earlier of equals."""
    scored = [(worth(each), number, each) for number, each in enumerate(found)]
    best = sorted(scored, key=lambda entry: (-entry[0], entry[1]))[:finalists]
    return [(score, each) for score, _, each in best]


def _says(role: str, content: str) -> Message:
    return {"role": role, "content": content}
