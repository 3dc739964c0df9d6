"""Prompts of the world: what may be asked, in the paper's use-case mix, and what a prompt text asks for.

It knows how a prompt is worded and read back; it knows nothing of answers, people or taste.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from sandbox.template import Slots, Template
from sandbox.vocabulary import (
    ADJECTIVES,
    ANIMAL_LEGS,
    ANIMALS,
    CATEGORIES,
    CATEGORY_PLURALS,
    FOODS,
    NAMES,
    NUMBERS,
    PLACES,
    PURPOSES,
    RELATIONS,
    THING_COLORS,
    with_article,
)

USE_CASE_SHARES: Final[Mapping[str, float]] = {
    "generation": 45.6,
    "open_qa": 12.4,
    "brainstorming": 11.2,
    "chat": 8.4,
    "rewrite": 6.6,
    "summarisation": 4.2,
    "classification": 3.5,
    "other": 3.5,
    "closed_qa": 2.6,
    "extract": 1.9,
}
"""Percent of prompts by use case. Source: Ouyang et al. 2022, arXiv:2203.02155, Table 1 (they sum to 99.9)."""

UNSTATED_SHARE: Final = 0.45
"""Of the prompts about a context, the share whose answer the context does not hold."""
OTHER_PERSON_SHARE: Final = 0.5
"""Of those, the share that asks about a person the context is not about; the rest ask another thing."""
PURPOSE_SHARE: Final = 0.5
"""Of all prompts, the share that opens with what it is for ("For my blog: ")."""


class Task(NamedTuple):
    """What a prompt asks for, as read from its text.

    ``kind`` says how an answer looks; prompts of several use cases may share one. ``slots`` holds what the
    answer must agree with; a ``fact`` without a ``value`` asks for something that its context does not state.
    """

    use_case: str
    kind: str
    slots: Slots

    @property
    def closed(self) -> bool:
        """Whether all that an answer may claim is in the prompt, so that anything else is invented."""
        return self.kind in {"fact", "summary", "past"}

    @property
    def unstated(self) -> bool:
        """Whether the prompt's context does not hold the answer."""
        return self.kind == "fact" and "value" not in self.slots


class Prompt(NamedTuple):
    """One user message and what it asks for; ``read_prompt(text)`` gives the same task."""

    text: str
    task: Task


def make_prompt(
    rng: random.Random, use_case: str | None = None, shares: Mapping[str, float] = USE_CASE_SHARES
) -> Prompt:
    """One prompt, of ``use_case`` or of one drawn by ``shares``."""
    chosen = use_case or rng.choices(list(shares), weights=list(shares.values()))[0]
    form = rng.choice(list(_FORMS[chosen]))
    if form in _FACT_FORMS:
        text = _make_fact(rng, form)
    else:
        template = rng.choice(_FORMS[chosen][form])
        slots = template.draw(rng, {})
        while not _sensible(form, slots):
            slots = template.draw(rng, {})
        text = template.fill(slots)
    opening = f"For my {rng.choice(PURPOSES)}: " if rng.random() < PURPOSE_SHARE else ""
    task = read_prompt(text)
    assert task is not None, text
    return Prompt(opening + text, Task(chosen, task.kind, task.slots))


def make_unstated_prompt(rng: random.Random) -> Prompt:
    """One closed-domain prompt whose context does not hold the answer."""
    while True:
        prompt = make_prompt(rng, rng.choice(("generation", "chat", "closed_qa", "extract")))
        if prompt.task.unstated:
            return prompt


def read_prompt(text: str) -> Task | None:
    """What ``text`` asks for, or None where it is no prompt of this world."""
    body = _OPENING.sub("", text.strip(), count=1)
    for use_case, form, template in _READERS:
        slots = template.read(body)
        if slots is not None and _sensible(form, slots):
            return _task(use_case, form, template, slots)
    return None


def _task(use_case: str, form: str, template: Template, slots: Slots) -> Task:
    if form in _FACT_FORMS:
        said, asked = _RELATIONS_OF[template]
        name = slots.get("asked", slots.get("name", "you"))
        fact = {"name": name, "relation": asked}
        if said == asked and name == slots.get("name", "you"):
            fact["value"] = slots["value"]
        return Task(use_case, "fact", fact)
    if form in {"past", "summary"}:
        said, second = _RELATIONS_OF[template]
        slots |= {"relation": said, "second_relation": second}
    if form == "class":
        slots["category"] = next(c for c in CATEGORIES if slots["item"] in CATEGORIES[c])
    return Task(use_case, form, slots)


def _sensible(form: str, slots: Slots) -> bool:
    if form == "class":
        choices = {slots["one"], slots["two"]}
        return len(choices) == 2 and any(slots["item"] in CATEGORIES[c.split()[-1]] for c in choices)
    return True


def _make_fact(rng: random.Random, form: str) -> str:
    said = asked = rng.choice(list(RELATIONS))
    name = other = rng.choice(NAMES)
    if rng.random() < UNSTATED_SHARE:
        if rng.random() < OTHER_PERSON_SHARE and form in _TWO_PERSON_FORMS:
            other = rng.choice([n for n in NAMES if n != name])
        else:
            asked = rng.choice([r for r in RELATIONS if r != said])
    slots = {"name": name, "asked": other, "value": rng.choice(RELATIONS[said].values)}
    return _FACT_TEMPLATES[form, said, asked].fill(slots)


_OPENING: Final = re.compile(rf"For my (?:{'|'.join(PURPOSES)}): ")
_TWO_PERSON_FORMS: Final = ("closed_qa", "note")
_FACT_FORMS: Final = ("closed_qa", "note", "chat", "extract")

_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "name": NAMES,
    "asked": NAMES,
    "place": PLACES,
    "food": FOODS,
    "adjective": ADJECTIVES,
    "animal": ANIMALS,
    "legged": tuple(ANIMAL_LEGS),
    "thing": tuple(THING_COLORS),
    "number": NUMBERS[1:3],
    "count": NUMBERS[1:5],
    "plural": tuple(CATEGORY_PLURALS.values()),
    "item": tuple(item for items in CATEGORIES.values() for item in items),
    "one": tuple(with_article(category) for category in CATEGORIES),
    "two": tuple(with_article(category) for category in CATEGORIES),
}


def _two_facts(form: str, said: str, asked: str) -> Template:
    """The template of a prompt that says one relation of a person and asks or says another."""
    first, second = RELATIONS[said], RELATIONS[asked]
    says = first.says + ". "
    text = {
        "closed_qa": says + second.asks.format(name="{asked}"),
        "note": f"Write a note on {second.about.format(name='{asked}')}: {first.says}.",
        "chat": f"{first.i_say}. {second.i_ask}",
        "extract": f"Find the {second.noun}: {first.says}.",
        "summary": "Sum up: " + says + second.says.format(name="{name}", value="{second_value}") + ".",
        "past": f"Put it in the past: {first.says}.",
    }[form]
    return Template(text, _CHOICES | {"value": first.values, "second_value": second.values})


_FACT_TEMPLATES: Final = {
    (form, said, asked): _two_facts(form, said, asked)
    for form in (*_FACT_FORMS, "summary", "past")
    for said in RELATIONS
    for asked in RELATIONS
    if (form not in {"summary", "past"}) or (said != asked) == (form == "summary")
}
_RELATIONS_OF: Final = {template: (said, asked) for (_, said, asked), template in _FACT_TEMPLATES.items()}


def _of(form: str) -> tuple[Template, ...]:
    return tuple(template for (which, _, _), template in _FACT_TEMPLATES.items() if which == form)


def _plain(text: str) -> tuple[Template, ...]:
    return (Template(text, _CHOICES),)


_FORMS: Final[dict[str, dict[str, tuple[Template, ...]]]] = {
    "generation": {
        "line": _plain("Write a line about the {adjective} {animal}."),
        "greeting": _plain("Write a greeting for {name} in {place}."),
        "note": _of("note"),
    },
    "open_qa": {
        "color": _plain("What is the color of {thing}?"),
        "legs": _plain("How many legs does a {legged} have?"),
    },
    "brainstorming": {"list": _plain("List {number} {plural} for {name}.")},
    "chat": {"chat": _of("chat")},
    "rewrite": {"polite": _plain("Say it kindly: Give me {food}!"), "past": _of("past")},
    "summarisation": {"summary": _of("summary")},
    "classification": {"class": _plain("Is a {item} {one} or {two}?")},
    "other": {"count": _plain("Count to {count} for {name}.")},
    "closed_qa": {"closed_qa": _of("closed_qa")},
    "extract": {"extract": _of("extract")},
}
_READERS: Final = tuple(
    (use_case, form, template)
    for use_case, forms in _FORMS.items()
    for form, templates in forms.items()
    for template in templates
)
