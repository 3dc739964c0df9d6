"""Prompts made up for measuring curation, with planted cases whose verdicts are known beforehand.

Words are drawn from a made-up vocabulary. Every text has a serial number near its beginning, so that nothing repeats
by chance; one text in five has the number behind a template that it shares with many, as programs send them. As many
more prompts, as many more customers and templates.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from feedback.curation.prefixes import needed
from feedback.records import Message

CONSONANTS, VOWELS, ENDS = "bcdfghjklmnprstvw", "aeiou", "lmnrst"
WORDS = [a + b + c for a in CONSONANTS for b in VOWELS for c in ENDS]
CAPPED_PROMPTS = 250
"""How many prompts each customer sends who sends too many."""
TEMPLATE_CHARS = 100
TEMPLATE_PROMPTS = 2_000
"""There is a template for so many prompts."""
PERSONAL = {
    "email": "ada.{}@lovelace.org",
    "phone": "+49 30 90{:06d}",
    "ip": "10.1.{}.7",
    "iban": "DE89 3704 0044 0532 0130 00",
    "card": "4111 1111 1111 1111",
    "ssn": "219-09-9{:03d}",
    "secret": "sk-proj-a1B2c3D4e5F6g7H8{}",
    "wallet": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
}


class Asked(NamedTuple):
    """One prompt and the customer who asks it."""

    customer: str
    messages: list[Message]


class Made(NamedTuple):
    """Prompts in the order in which they are asked, and what must become of them."""

    asked: list[Asked]
    outcomes: dict[str, int]
    """Outcome -> how many."""
    planted: dict[str, int]
    """Planted case -> how many."""


def make(count: int, seed: int = 1) -> Made:
    """Return ``count`` prompts.

    Of them 5 % repeat another in other letters and spaces, 3 % have just enough of their beginning in common with
    another and 2 % one character too few; 2.5 % are of customers above the cap of 200.
    """
    rng = random.Random(seed)
    templates = [_words(rng, TEMPLATE_CHARS) for _ in range(max(1, count // TEMPLATE_PROMPTS))]
    pairs = {"exact": count // 20, "prefix": count * 3 // 100, "near": count // 50}
    capped = count // 10_000
    singles = count - 2 * sum(pairs.values()) - capped * CAPPED_PROMPTS
    serial = iter(range(count))
    texts = [_text(rng, next(serial), templates) for _ in range(singles)]
    for case, number in pairs.items():
        for _ in range(number):
            one = _text(rng, next(serial), templates)
            texts += [one, _twin(rng, one, case)]
    rng.shuffle(texts)
    customers = max(1, count // 100)
    drawn = [(f"customer {place % customers}", text) for place, text in enumerate(texts)]
    for customer in range(capped):
        drawn += [(f"capped {customer}", _text(rng, next(serial), templates)) for _ in range(CAPPED_PROMPTS)]
    rng.shuffle(drawn)
    planted = {**pairs, "cap": capped * (CAPPED_PROMPTS - 200)}
    refused = {"duplicate": pairs["exact"] + pairs["prefix"], "customer cap": planted["cap"]}
    asked = [_asked(customer, text) for customer, text in drawn]
    return Made(asked, {"kept": count - sum(refused.values()), **refused}, planted)


def personal(count: int, share: float, seed: int = 1) -> list[tuple[str, str]]:
    """Return (text, text as it must be masked); ``share`` of them hold one piece of personal data."""
    rng = random.Random(seed)
    kinds = list(PERSONAL)
    found = []
    for number in range(count):
        before, after = _words(rng, rng.randint(20, 150)), _words(rng, rng.randint(20, 150))
        if rng.random() < share:
            kind = kinds[number % len(kinds)]
            value, name = PERSONAL[kind].format(100 + number % 100), f"<{kind.upper()}_1>"
        else:
            value = name = str(rng.randint(1, 2000))
        found.append((f"{before} {value} {after}.", f"{before} {name} {after}."))
    return found


def _asked(customer: str, text: str) -> Asked:
    """Return a prompt that lies in memory beside the one asked before it, as if both had just arrived."""
    return Asked(customer.encode().decode(), [Message(role="user", content=text.encode().decode())])


def _text(rng: random.Random, serial: int, templates: list[str]) -> str:
    number = f"n{serial:07d}"
    length = rng.choices([rng.randint(30, 75), rng.randint(180, 400), rng.randint(400, 1500)], weights=[5, 4, 1])[0]
    if length > TEMPLATE_CHARS + 70 and rng.random() < 0.35:
        return f"{rng.choice(templates)} {number} {_words(rng, length - TEMPLATE_CHARS)}"
    return f"{number} {_words(rng, length)}"


def _twin(rng: random.Random, text: str, case: str) -> str:
    """Return a text as long as ``text``: the same in other letters, or with just enough in common, or one too few."""
    if case == "exact":
        return f"  {text.upper()} \n"
    head = len("user: ")
    whole = head + len(text)
    shared = needed(whole) - head - (case == "near")
    if shared >= len(text):
        return text.upper()
    other = "x" if text[shared] != "x" else "y"
    return text[:shared] + other * (len(text) - shared)


def _words(rng: random.Random, chars: int) -> str:
    """Return words of three letters, about as many characters as asked for."""
    return " ".join(rng.choices(WORDS, k=max(1, chars // 4)))
