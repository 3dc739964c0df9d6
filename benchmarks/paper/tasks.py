"""The miniature public tasks: what FLAN and T0 learned from (the paper's 4.1), and what its Table 14 measures.

Instruction data of the kind that public sets hold, about the sandbox's facts: several wordings of each task, terse
answers, nothing of the labelers' taste. Every context holds its answer, as theirs mostly did, so who learns from them
has never seen "not stated". Facts or prompts of the test split occur in no training row. Knows wordings, answers and
their scores; does not know policies.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, Final, Literal, NamedTuple

from sandbox.answers import MEMBERS, count_up
from sandbox.vocabulary import (
    ANIMAL_LEGS,
    CATEGORIES,
    COLORS,
    NAMES,
    NUMBERS,
    RELATIONS,
    THING_COLORS,
    with_article,
)

Split = Literal["train", "test"]
HELD_OUT_SHARE: Final = 0.25
"""Share of the facts (or prompts) of a task that only the test split asks about, on average."""


class Exercise(NamedTuple):
    """One question with its answer.

    ``accepted`` are answers in a few words, any of which is right; ``choices`` what else could be answered. For lists,
    ``accepted`` are the members of which ``wanted`` different ones are asked.
    """

    task: str
    fact: str
    prompt: str
    answer: str
    accepted: tuple[str, ...]
    choices: tuple[str, ...]
    wanted: int = 1


class Score(NamedTuple):
    """How a completion answers: ``exact`` says the answer and no more, ``holds`` says it among other words.

    ``exact`` also depends on style, as published scores do; ``holds`` tells what is known or found from how it is said.
    """

    exact: bool
    holds: bool


def _closed_qa(rng: random.Random) -> Exercise:
    name, relation = rng.choice(NAMES), RELATIONS[rng.choice(list(RELATIONS))]
    value = rng.choice(relation.values)
    text = relation.says.format(name=name, value=value) + "."
    asks, about = relation.asks.format(name=name), relation.about.format(name=name)
    wording = rng.choice(("{text} {asks}", "Read: {text} {asks}", "Text: {text} Say {about}.", "{asks} {text}"))
    prompt = wording.format(text=text, asks=asks, about=about)
    answer = relation.terse.format(value=value)
    return Exercise("closed_qa", text, prompt, _sentence(answer), (value, answer), relation.values)


def _open_qa(rng: random.Random) -> Exercise:
    if rng.random() < 0.5:
        thing = rng.choice(list(THING_COLORS))
        color = THING_COLORS[thing]
        wordings = ("What is the color of {0}?", "Tell me the color of {0}.", "Question: what color is {0}?")
        return Exercise("open_qa", thing, rng.choice(wordings).format(thing), _sentence(color), (color,), COLORS)
    animal = rng.choice(list(ANIMAL_LEGS))
    legs = ANIMAL_LEGS[animal]
    wordings = ("How many legs does a {0} have?", "Tell me how many legs a {0} has.", "Question: legs of a {0}?")
    return Exercise("open_qa", animal, rng.choice(wordings).format(animal), _sentence(legs), (legs,), NUMBERS)


def _classification(rng: random.Random) -> Exercise:
    category = rng.choice(list(CATEGORIES))
    item = rng.choice(CATEGORIES[category])
    choices = [category, rng.choice([other for other in CATEGORIES if other != category])]
    rng.shuffle(choices)
    one, two = map(with_article, choices)
    wording = rng.choice(
        ("Is a {item} {one} or {two}?", "Choose: a {item} is {one} or {two}?", "{One} or {two}: {item}?")
    )
    prompt = wording.format(item=item, one=one, two=two, One=one[:1].upper() + one[1:])
    answer = with_article(category)
    return Exercise("classification", item, prompt, _sentence(answer), (category,), tuple(choices))


def _counting(rng: random.Random) -> Exercise:
    last, name = rng.choice(NUMBERS[1:]), rng.choice(NAMES)
    wording = rng.choice(("Count to {last} for {name}.", "Count up to {last}, {name}.", "For {name}: count to {last}."))
    prompt = wording.format(last=last, name=name)
    numbers = count_up(last)
    others = tuple(count_up(number) for number in NUMBERS)
    return Exercise("counting", prompt, prompt, _sentence(numbers), (numbers,), others)


def _lists(rng: random.Random) -> Exercise:
    plural, number, name = rng.choice(list(MEMBERS)), rng.choice(NUMBERS[1:3]), rng.choice(NAMES)
    wording = rng.choice(
        ("List {number} {plural} for {name}.", "Name {number} {plural}, {name}.", "For {name}: list {number} {plural}.")
    )
    prompt = wording.format(number=number, plural=plural, name=name)
    members, wanted = MEMBERS[plural], NUMBERS.index(number) + 1
    answer = ", ".join(rng.sample(members, wanted))
    everything = tuple(item for each in MEMBERS.values() for item in each)
    return Exercise("lists", prompt, prompt, _sentence(answer), members, everything, wanted)


def _past(rng: random.Random) -> Exercise:
    name, relation = rng.choice(NAMES), RELATIONS[rng.choice(list(RELATIONS))]
    value = rng.choice(relation.values)
    text, said = (form.format(name=name, value=value) for form in (relation.says, relation.said))
    wording = rng.choice(("Put it in the past: {0}.", "In the past: {0}.", "Past of: {0}."))
    answer = said.removeprefix(f"{name} ")
    verbs = tuple(each.said.split()[1] for each in RELATIONS.values())
    others = tuple(f"{verb} {answer.split(' ', 1)[1]}" for verb in verbs)
    return Exercise("past", text, wording.format(text), _sentence(answer), (answer, said), others)


TASKS: Final[Mapping[str, Callable[[random.Random], Exercise]]] = {
    "closed_qa": _closed_qa,
    "open_qa": _open_qa,
    "classification": _classification,
    "counting": _counting,
    "lists": _lists,
    "past": _past,
}
"""By name. The roles: SQuAD and QuAC, TruthfulQA, SST and RTE, DROP, free generation, translation."""


def exercises(count: int, seed: int, split: Split, tasks: Sequence[str] = tuple(TASKS)) -> Iterator[Exercise]:
    """``count`` exercises of a split, tasks taking turns; the same ones for the same seed."""
    rng = random.Random(f"tasks:{seed}:{split}")
    for number in range(count):
        make = TASKS[tasks[number % len(tasks)]]
        found = make(rng)
        while held_out(found) != (split == "test"):
            found = make(rng)
        yield found


def held_out(exercise: Exercise) -> bool:
    """Whether only the test split may ask this: by a hash of its fact, so no seed mixes the splits."""
    return zlib.crc32(f"{exercise.task}:{exercise.fact}".encode()) % 1000 < 1000 * HELD_OUT_SHARE


def task_rows(count: int, seed: int, split: Split, tasks: Sequence[str] = tuple(TASKS)) -> Iterator[dict[str, Any]]:
    """Demonstrations in the trainer's format, ``{"id", "prompt", "response", "task", "split"}``; see ``exercises``."""
    for number, each in enumerate(exercises(count, seed, split, tasks), 1):
        name = f"task-{seed}-{split}-{number:05d}"
        yield {"id": name, "prompt": each.prompt, "response": each.answer, "task": each.task, "split": split}


def score(exercise: Exercise, completion: str) -> Score:
    """Exact match of a completion's first sentence, and whether the answer is in it and no other one.

    Letters' case, articles and punctuation do not count, as in SQuAD's script. Of a list, every word must be a
    member, none twice, and as many as asked (``holds``: at least so many members, and no member of another kind).
    """
    said = _words(re.split(r"(?<=[.!?])\s", completion.strip(), maxsplit=1)[0])
    if exercise.wanted > 1:
        named = [word for word in said.split() if word in exercise.choices]
        right = len(set(named)) == len(named) == exercise.wanted and set(named) <= set(exercise.accepted)
        return Score(right and said == " ".join(named), right)
    accepted = {_words(each) for each in exercise.accepted}
    others = {_words(each) for each in exercise.choices} - accepted
    found = max((each for each in accepted if _within(each, said)), key=len, default="")
    # A longer count holds the shorter one, so what counts is the longest that was said.
    rivals = [each for each in others if _within(each, said) and not _within(each, found)]
    return Score(said in accepted, bool(found) and not rivals)


def accuracies(asked: Sequence[Exercise], completions: Sequence[str]) -> dict[str, float]:
    """Shares of right completions: ``accuracy`` (holds the answer), ``exact``, and ``accuracy_TASK`` of each task.

    The first two are means over tasks, each weighing the same. Completions should be greedy, as in the paper's
    appendix D.

    Raises:
        ValueError: no exercise, or another number of completions.
    """
    scores: dict[str, list[Score]] = {}
    for exercise, completion in zip(asked, completions, strict=True):
        scores.setdefault(exercise.task, []).append(score(exercise, completion))
    if not scores:
        raise ValueError("accuracy of no exercise")
    holds = {task: fmean(each.holds for each in scores[task]) for task in sorted(scores)}
    exact = fmean(fmean(each.exact for each in scores[task]) for task in scores)
    each_task = {f"accuracy_{task}": share for task, share in holds.items()}
    return {"accuracy": fmean(holds.values()), "exact": exact} | each_task


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _words(text: str) -> str:
    """Lower-case words without articles and punctuation, one space between them."""
    return " ".join(word for word in re.findall(r"[a-z]+", text.lower()) if word not in {"a", "an", "the"})


def _within(part: str, whole: str) -> bool:
    return f" {part} " in f" {whole} "
