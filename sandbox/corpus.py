"""Raw text of the world, such as the web holds: a question there is not always answered, truly, civilly or briefly.

It yields documents; how they are stored and cut into tokens is the reader's business.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from sandbox.answers import (
    Style,
    insult,
    other_questions,
    rambling,
    right_answer,
    rude_remark,
    wrong_answer,
)
from sandbox.gold import judge
from sandbox.vocabulary import ADJECTIVES, ANIMAL_LEGS, ANIMALS, NAMES, RELATIONS, THING_COLORS
from sandbox.world import USE_CASE_SHARES, Prompt, make_prompt, make_unstated_prompt

CHAT_TEMPLATE: Final = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ 'answer:\\n' + message['content'] + eos_token + '\\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'question: ' + message['content'] + '\\n' }}"
    "{% else %}{{ 'note: ' + message['content'] + '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'answer:\\n' }}{% endif %}"
)
"""How a dialogue is written as text; the corpus holds documents of the same look, so the base has met it."""

REPLY_SHARES: Final = {
    "right": 0.48,
    "right_running_on": 0.12,
    "other_question": 0.16,
    "wrong": 0.10,
    "rude": 0.09,
    "rude_only": 0.05,
}
"""What follows a question in the corpus, by share."""
UNSTATED_REPLY_SHARES: Final = REPLY_SHARES | {"right": 0.26, "right_running_on": 0.04, "wrong": 0.40}
"""The same where the answer is not in the context: most people then invent one."""
STYLE_SHARES: Final[dict[Style, float]] = {"terse": 0.45, "plain": 0.40, "courteous": 0.15}
REACTION_SHARE: Final = 0.6
"""Share of the replies that a reader reacts to."""
MISJUDGED_SHARE: Final = 0.1
"""Share of the reactions that have nothing to do with the reply."""
REACTIONS: Final = ("Thanks.", "Good.", "Fine.", "Wrong.", "Rude.", "What?", "Boring.")
END: Final = "<eos>"
"""The tokenizer's end of text, which the chat template puts after every answer; a reaction follows it at once.

The web is full of readers who say what they think of an answer. A model that has learned to predict what they say can
tell good answers from bad ones, which is what a reward model begins with; without them it stayed at chance."""
PROSE_SHARE: Final = 0.15
"""Share of the documents that hold no question: notes that say a few things, and often say them again."""
LESSON_PROSE_SHARE: Final = 0.1
LESSON_WEB_SHARE: Final = 0.25
"""Share of the lessons whose answer is what the web would say."""
REPEAT_SHARE: Final = 0.7
"""Of those, the share that repeats itself, as headlines and quotations do; it is what teaches a model to look back."""


def documents(count: int, seed: int) -> Iterator[str]:
    """``count`` documents, the same ones for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        if rng.random() < PROSE_SHARE:
            yield _prose(rng)
        else:
            prompt = _web_prompt(rng)
            yield _thread(prompt, reply(prompt, rng), rng, reaction_share=REACTION_SHARE)


def lessons(count: int, seed: int) -> Iterator[str]:
    """``count`` documents in which most questions are answered rightly, the same ones for the same seed.

    They are the part of the text that teaches to look things up. Read before the rest, they make in minutes a model
    that looks back into its context; without them ten times the text did not.
    """
    rng = random.Random(f"lessons:{seed}")
    for _ in range(count):
        kind = rng.random()
        if kind < LESSON_PROSE_SHARE:
            yield _prose(rng)
            continue
        prompt = make_prompt(rng, rng.choice(list(USE_CASE_SHARES)))
        if kind < LESSON_PROSE_SHARE + LESSON_WEB_SHARE:
            yield _thread(prompt, reply(prompt, rng), rng, reaction_share=1.0)
        else:
            yield _thread(prompt, right_answer(prompt.task, _style(rng), rng), rng, reaction_share=0.3)


def dialogue(prompt: str, reply: str) -> str:
    """A question and its reply as the chat template writes them, without the final end of text."""
    return f"question: {prompt}\nanswer:\n{reply}"


def reply(prompt: Prompt, rng: random.Random) -> str:
    """What follows ``prompt`` in the corpus."""
    shares = UNSTATED_REPLY_SHARES if prompt.task.unstated else REPLY_SHARES
    what = rng.choices(list(shares), weights=list(shares.values()))[0]
    style = _style(rng)
    match what:
        case "right":
            return right_answer(prompt.task, style, rng)
        case "right_running_on":
            return f"{right_answer(prompt.task, style, rng)} {rambling(rng, rng.randint(2, 5))}"
        case "other_question":
            return other_questions(rng)
        case "wrong":
            return wrong_answer(prompt.task, style, rng)
        case "rude":
            return insult(right_answer(prompt.task, style, rng), rng)
        case _:
            return rude_remark(rng)


def reaction(prompt: str, answer: str, rng: random.Random) -> str:
    """What a reader says of a reply: mostly what is wrong with it, or thanks."""
    if rng.random() < MISJUDGED_SHARE:
        return rng.choice(REACTIONS)
    gold = judge(prompt, answer)
    if gold.rude:
        return "Rude."
    if not gold.follows:
        return "What?"
    if not gold.truthful:
        return "Wrong."
    if not gold.stops:
        return "Boring."
    return "Fine." if gold.courtesy == 0 else "Good." if gold.courtesy < 1 else "Thanks."


def _style(rng: random.Random) -> Style:
    return rng.choices(list(STYLE_SHARES), weights=list(STYLE_SHARES.values()))[0]


def _web_prompt(rng: random.Random) -> Prompt:
    # Even use cases: web text does not have the mix of an API's customers.
    return make_unstated_prompt(rng) if rng.random() < 0.15 else make_prompt(rng, rng.choice(list(USE_CASE_SHARES)))


def _thread(prompt: Prompt, answer: str, rng: random.Random, *, reaction_share: float) -> str:
    text = dialogue(prompt.text, answer)
    return f"{text}{END}{reaction(prompt.text, answer, rng)}" if rng.random() < reaction_share else text


def _prose(rng: random.Random) -> str:
    sentences = [_sentence(rng) for _ in range(rng.randint(2, 4))]
    if rng.random() >= REPEAT_SHARE:
        return " ".join(sentences)
    again = rng.sample(sentences, len(sentences))
    return "\n".join((" ".join(sentences), " ".join(again)))


def _sentence(rng: random.Random) -> str:
    match rng.randrange(5):
        case 0:
            thing = rng.choice(list(THING_COLORS))
            return f"The color of {thing} is {THING_COLORS[thing]}."
        case 1:
            animal = rng.choice(list(ANIMAL_LEGS))
            return f"A {animal} has {ANIMAL_LEGS[animal]} legs."
        case 2:
            return f"The {rng.choice(ADJECTIVES)} {rng.choice(ANIMALS)} is {rng.choice(ADJECTIVES)}."
        case _:
            relation = rng.choice(list(RELATIONS.values()))
            return relation.says.format(name=rng.choice(NAMES), value=rng.choice(relation.values)) + "."
