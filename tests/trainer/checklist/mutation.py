"""A mutation: one detail of the product's source, broken on purpose; and which test belongs to which item.

Knows source files as text; does not know pytest.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Mutation:
    """One broken detail.

    Attributes:
        item: number in the checklist.
        module: dotted name of the module that is broken.
        text: source text that occurs in it exactly once.
        broken: what stands there instead.
        what: the mutation in words.
    """

    item: int
    module: str
    text: str
    broken: str
    what: str

    @property
    def path(self) -> Path:
        return ROOT / (self.module.replace(".", "/") + ".py")

    @property
    def name(self) -> str:
        return f"{self.item:02d} {self.what}"

    def source(self) -> str:
        """The module's source with the detail broken.

        Raises:
            LookupError: the text does not occur exactly once; names the mutation.
        """
        source = self.path.read_text()
        if (count := source.count(self.text)) != 1:
            raise LookupError(f"mutation '{self.name}': its text occurs {count} times in {self.module}: {self.text!r}")
        return source.replace(self.text, self.broken)


@cache
def node_ids() -> dict[int, str]:
    """The node id of every item's test, by number.

    Raises:
        LookupError: an item has two tests.
    """
    found: dict[int, str] = {}
    for path in sorted(HERE.glob("test_items_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and (match := re.match(r"test_item_(\d\d)_", node.name)):
                item = int(match[1])
                if item in found:
                    raise LookupError(f"item {item} has two tests: {found[item]} and {node.name}")
                found[item] = f"{path.relative_to(ROOT)}::{node.name}"
    return found
