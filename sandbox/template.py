"""A sentence with named gaps, which can be filled and read back; it knows no words of the world."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

Slots = dict[str, str]


class Template:
    """A sentence such as ``"{name} lives in {place}"`` whose gaps each take one of a few values.

    ``read`` undoes ``fill``. The first letter of a filled sentence is a capital, and reading ignores case.
    """

    def __init__(self, text: str, choices: Mapping[str, tuple[str, ...]]) -> None:
        """Compiles ``text``; every gap in it must have its values in ``choices``."""
        self.text = text
        self.slots = tuple(dict.fromkeys(re.findall(r"{(\w+)}", text)))
        self._choices = choices
        pattern = re.escape(text).replace(r"\{", "{").replace(r"\}", "}")
        for slot in self.slots:
            values = sorted(choices[slot], key=len, reverse=True)
            group = f"(?P<{slot}>{'|'.join(map(re.escape, values))})"
            first, *rest = pattern.split(f"{{{slot}}}")
            pattern = first + group + f"(?P={slot})".join(rest)
        self._pattern = re.compile(pattern, re.IGNORECASE)
        self._cased = {slot: {value.lower(): value for value in choices[slot]} for slot in self.slots}

    def fill(self, slots: Mapping[str, str]) -> str:
        """The sentence with its gaps filled; values for other gaps are ignored."""
        filled = self.text.format(**slots)
        return filled[:1].upper() + filled[1:]

    def draw(self, rng: random.Random, given: Mapping[str, str]) -> Slots:
        """Values for every gap: those of ``given``, and for the others one drawn for each."""
        return {slot: given.get(slot) or rng.choice(self._choices[slot]) for slot in self.slots}

    def read(self, text: str) -> Slots | None:
        """The values in the gaps of ``text``, or None where it is not this sentence."""
        match = self._pattern.fullmatch(text)
        if match is None:
            return None
        return {slot: self._cased[slot][value.lower()] for slot, value in match.groupdict().items()}
