"""Keys: all in one catalogue, and the catalogue is complete."""

import ast
import re
from pathlib import Path

import pytest

from feedback import keys

PACKAGES = ("feedback", "serve", "trainer", "workers", "sandbox", "deploy")
ROOT = Path(__file__).parents[2]
LITERAL = re.compile(r"\bws:[a-z:<>-]*")


def catalogue() -> set[str]:
    """Return the key patterns in the table of the module docstring."""
    return {line.split()[0] for line in (keys.__doc__ or "").splitlines() if line.startswith("ws:")}


def spelled() -> set[str]:
    """Return the patterns that the constants and functions of the module make."""
    made = {value for name, value in vars(keys).items() if name.isupper() and str(value).startswith("ws:")}
    source = ast.parse(Path(keys.__file__).read_text())
    for node in ast.walk(source):
        if isinstance(node, ast.JoinedStr):
            parts = [
                part.value if isinstance(part, ast.Constant) else "<>" for part in node.values
            ]  # the name of the field may differ from the argument's
            made.add("".join(map(str, parts)))
    return made


def test_the_catalogue_lists_exactly_the_keys_that_the_module_spells() -> None:
    assert {re.sub(r"<\w+>", "<>", pattern) for pattern in catalogue()} == spelled()


def test_scripts_touch_only_keys_of_the_catalogue() -> None:
    known = [re.compile(re.sub(r"<\w+>", "[a-z<>]*", pattern)) for pattern in catalogue()]
    known += [re.compile(re.escape(pattern.partition("<")[0])) for pattern in catalogue() if "<" in pattern]
    scripts = list((ROOT / "feedback/scripts").rglob("*.lua"))
    assert scripts
    for script in scripts:
        for found in LITERAL.findall(script.read_text()):
            assert any(pattern.fullmatch(found) for pattern in known), f"{script.name}: {found}"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_module_spells_a_key(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        if path == Path(keys.__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("ws:"):
                pytest.fail(f"{path.relative_to(ROOT)}:{node.lineno} spells the key {node.value!r}")


def test_every_key_has_a_type_and_a_bound() -> None:
    types = {"hash", "string", "stream", "zset", "set", "list"}
    for line in (keys.__doc__ or "").splitlines():
        if line.startswith("ws:"):
            words = line.split()
            assert words[1] in types, line
            assert len(words) > 3, line
