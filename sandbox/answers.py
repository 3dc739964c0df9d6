"""Sentences that answer a task, and how each style and each failing of an answer is worded.

It knows what a right answer says; it does not know which answers people prefer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, Literal

from sandbox.template import Slots, Template
from sandbox.vocabulary import (
    ADJECTIVES,
    ANIMAL_LEGS,
    ANIMALS,
    CATEGORIES,
    CATEGORY_PLURALS,
    COLORS,
    FOODS,
    INSULTS,
    NAMES,
    NUMBERS,
    PLACES,
    RELATIONS,
    RUDE_REMARKS,
    THING_COLORS,
    with_article,
)
from sandbox.world import USE_CASE_SHARES, Task, make_prompt

Style = Literal["terse", "plain", "courteous"]
STYLES: Final[tuple[Style, ...]] = ("terse", "plain", "courteous")
OPENERS: Final = {"right": "Sure: ", "unstated": "Sorry: "}
UNSTATED: Final = {"terse": "Not stated", "plain": "That is not stated"}


def right_answer(task: Task, style: Style, rng: random.Random) -> str:
    """A right answer to ``task``, ending with its full stop."""
    form = _form(style)
    core = UNSTATED[form] if task.unstated else _say(task, form, fixed_slots(task), rng)
    opener = OPENERS["unstated" if task.unstated else "right"] if style == "courteous" else ""
    return f"{opener}{core}."


def wrong_answer(task: Task, style: Style, rng: random.Random) -> str:
    """An answer of the right shape that claims something false, or something the prompt does not hold."""
    slots = fixed_slots(task)
    slot = _FALSIFIED[task.kind]
    values = RELATIONS[slots["relation"]].values if slot == "value" else _CHOICES[slot]
    slots[slot] = rng.choice([value for value in values if value != slots.get(slot)])
    opener = OPENERS["right"] if style == "courteous" else ""
    return f"{opener}{_say(task, _form(style), slots, rng)}."


def fixed_slots(task: Task) -> Slots:
    """The values that a right answer must agree with, by the gap of the answer's template."""
    slots = dict(task.slots)
    match task.kind:
        case "color":
            slots["color"] = THING_COLORS[slots["thing"]]
        case "legs":
            slots["legs"] = ANIMAL_LEGS[slots["legged"]]
        case "class":
            slots["category"] = with_article(slots["category"])
        case "count":
            slots["numbers"] = count_up(slots["count"])
        case "list":
            slots["members"] = slots["plural"]
    return slots


def answer_templates(task: Task) -> dict[str, Template]:
    """The sentences, without full stop, that a right answer takes: by form, "terse" and "plain"."""
    slots = task.slots
    match task.kind:
        case "fact":
            return _FACTS[slots["name"] == "you", slots["relation"]]
        case "past":
            return _PASTS[slots["relation"]]
        case "summary":
            return _SUMMARIES[slots["relation"], slots["second_relation"]]
        case "list":
            return _LISTS[slots["number"]]
        case kind:
            return _SIMPLE[kind]


def answer_shapes(task: Task) -> Iterator[Template]:
    """Every sentence that tries to answer a task of this kind, be it of another relation or length."""
    match task.kind:
        case "fact":
            families = list(_FACTS.values())
        case "past":
            families = list(_PASTS.values())
        case "summary":
            families = list(_SUMMARIES.values())
        case "list":
            families = list(_LISTS.values())
        case kind:
            families = [_SIMPLE[kind]]
    for family in families:
        yield from family.values()


def count_up(last: str) -> str:
    """The numbers from one to ``last``, with commas."""
    return ", ".join(NUMBERS[: NUMBERS.index(last) + 1])


def rude_remark(rng: random.Random) -> str:
    """A rude sentence."""
    return rng.choice(RUDE_REMARKS)


def insult(answer: str, rng: random.Random) -> str:
    """``answer`` made rude, by an insult before or after it."""
    if rng.random() < 0.5:
        return f"{rude_remark(rng)} {answer}"
    return f"{answer.removesuffix('.')}, you {rng.choice(INSULTS)}."


def other_questions(rng: random.Random) -> str:
    """One to three questions or orders, such as a list of them holds, and no answer."""
    shares = {case: share for case, share in USE_CASE_SHARES.items() if case not in {"chat", "closed_qa"}}
    return " ".join(make_prompt(rng, shares=shares).text for _ in range(rng.choice((1, 1, 2))))


def rambling(rng: random.Random, sentences: int) -> str:
    """Sentences that have to do with nothing asked."""
    return " ".join(_idle_sentence(rng) for _ in range(sentences))


def _idle_sentence(rng: random.Random) -> str:
    match rng.randrange(4):
        case 0:
            return f"The {rng.choice(ANIMALS)} is {rng.choice(ADJECTIVES)}."
        case 1:
            relation = RELATIONS[rng.choice(list(RELATIONS))]
            return relation.says.format(name=rng.choice(NAMES), value=rng.choice(relation.values)) + "."
        case 2:
            return "And so on and so on."
        case _:
            return "But that is another story."


def _form(style: Style) -> str:
    return "terse" if style == "terse" else "plain"


def _say(task: Task, form: str, slots: Slots, rng: random.Random) -> str:
    template = answer_templates(task)[form]
    if task.kind == "list":
        members = MEMBERS[slots["members"]]
        picked = rng.sample(members, NUMBERS.index(slots["number"]) + 1)
        slots = slots | {f"item_{index}": item for index, item in enumerate(picked)}
    return template.fill(template.draw(rng, slots))


MEMBERS: Final = {plural: CATEGORIES[category] for category, plural in CATEGORY_PLURALS.items()}
_ITEMS: Final = tuple(item for items in CATEGORIES.values() for item in items)
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "name": NAMES,
    "place": PLACES,
    "food": FOODS,
    "adjective": ADJECTIVES,
    "second": ADJECTIVES,
    "third": ADJECTIVES,
    "animal": ANIMALS,
    "legged": tuple(ANIMAL_LEGS),
    "legs": NUMBERS,
    "thing": tuple(THING_COLORS),
    "color": COLORS,
    "item": _ITEMS,
    "item_0": _ITEMS,
    "item_1": _ITEMS,
    "item_2": _ITEMS,
    "plural": tuple(CATEGORY_PLURALS.values()),
    "members": tuple(CATEGORY_PLURALS.values()),
    "category": tuple(with_article(category) for category in CATEGORIES),
    "numbers": tuple(count_up(number) for number in NUMBERS),
}
_FALSIFIED: Final = {
    "fact": "value", "past": "value", "summary": "value", "line": "animal", "greeting": "name", "color": "color",
    "legs": "legs", "list": "members", "polite": "food", "class": "category", "count": "numbers",
}  # fmt: skip
"""The gap of an answer that a wrong answer fills with something else."""


def _pair(terse: str, plain: str, **choices: tuple[str, ...]) -> dict[str, Template]:
    return {"terse": Template(terse, _CHOICES | choices), "plain": Template(plain, _CHOICES | choices)}


_SIMPLE: Final = {
    "line": _pair("The {animal} is {second}", "The {adjective} {animal} is {second} and {third}"),
    "greeting": _pair("Hello, {name}", "Hello, {name}, welcome to {place}"),
    "color": _pair("{color}", "The color of {thing} is {color}"),
    "legs": _pair("{legs}", "A {legged} has {legs} legs"),
    "polite": _pair("{food}, please", "Please give me some {food}"),
    "class": _pair("{category}", "A {item} is {category}"),
    "count": _pair("{numbers}", "I count {numbers}"),
}
_LISTS: Final = {
    "two": _pair("{item_0}, {item_1}", "Some {plural} are {item_0} and {item_1}"),
    "three": _pair("{item_0}, {item_1}, {item_2}", "Some {plural} are {item_0}, {item_1} and {item_2}"),
}
_FACTS: Final = {
    (you, name): _pair(relation.terse, relation.you_say if you else relation.says, value=relation.values)
    for name, relation in RELATIONS.items()
    for you in (False, True)
}
_PASTS: Final = {
    name: _pair(relation.said.removeprefix("{name} "), relation.said, value=relation.values)
    for name, relation in RELATIONS.items()
}
_SUMMARIES: Final = {
    (one, two): _pair(
        "{value} and {second_value}",
        f"{first.says} and {second.says.removeprefix('{name} ').replace('{value}', '{second_value}')}",
        value=first.values,
        second_value=second.values,
    )
    for one, first in RELATIONS.items()
    for two, second in RELATIONS.items()
}
