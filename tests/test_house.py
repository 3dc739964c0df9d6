"""House rules: small files, small functions, a docstring and a test for every module, no leftovers."""

import ast
import re
from pathlib import Path

from tests.sources import PACKAGES, ROOT, files, modules

MOST_LINES = 300
MOST_FUNCTION_LINES = 80
LONG_FILES = {
    "tests/feedback/test_leases.py": "every way in which a lease can be won or lost, side by side",
}
"""Source files that are longer, and why."""
TESTED_BY: dict[str, str] = {}
"""Modules without a test file of their own name, and the test file that runs them."""
SOURCES = (".py", ".js", ".css", ".lua", ".sh", ".html")
BINARIES = (".png", ".ico", ".safetensors", ".gz")
LEFTOVERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:work|root|home)/|/tmp/wv|\bissue #?\d", re.IGNORECASE)
NAMES_OF_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "stuff"}
THIS = Path("tests/test_house.py")


def read(path: Path) -> str:
    return (ROOT / path).read_text()


def length(path: Path) -> int:
    return len(read(path).splitlines())


def twin(module: Path) -> Path:
    """Return where a module's tests belong."""
    return Path("tests") / module.parent / f"test_{module.stem}.py"


def test_files_are_short() -> None:
    long = {str(path): length(path) for path in files(*SOURCES) if length(path) > MOST_LINES}
    assert set(long) == set(LONG_FILES), f"split it, or list it with its reason (lines: {long})"


def test_functions_are_short() -> None:
    long = [
        f"{path}:{node.lineno} {node.name}"
        for path in files(".py")
        for node in ast.walk(ast.parse(read(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= MOST_FUNCTION_LINES
    ]
    assert long == []


def test_every_module_says_what_it_is() -> None:
    assert [str(path) for path in modules() if not ast.get_docstring(ast.parse(read(path)))] == []


def test_every_module_has_a_test_file() -> None:
    missing = [str(path) for path in modules() if not (ROOT / twin(path)).is_file()]
    assert missing == sorted(TESTED_BY), f"missing: {sorted(set(missing) ^ set(TESTED_BY))}"


def test_a_test_file_that_stands_in_for_another_names_the_module() -> None:
    for module, tests in TESTED_BY.items():
        name = Path(module).stem
        assert re.search(rf"\b{re.escape(name)}\b", read(Path(tests))), f"{tests} says nothing of {module}"


def test_nothing_is_left_over_and_no_machine_is_named() -> None:
    found = [
        f"{path}:{number} {line.strip()}"
        for path in files()
        if path.suffix not in BINARIES and path != THIS
        for number, line in enumerate(read(path).splitlines(), 1)
        if LEFTOVERS.search(line) or MACHINE_PATHS.search(line)
    ]
    assert found == []


def test_no_module_is_called_after_nothing() -> None:
    assert [path for path in files(".py") if path.stem in NAMES_OF_NOTHING] == []


def test_every_directory_of_modules_is_a_package() -> None:
    for path in modules():
        assert (ROOT / path.parent / "__init__.py").is_file(), f"{path.parent} has no __init__.py"
    assert {path.parts[0] for path in modules()} == set(PACKAGES)


def test_one_module_moves_live() -> None:
    callers = [path for path in modules() if re.search(r"ledger\.run\(\s*\"promote\"", read(path))]
    assert callers == [Path("feedback/promotion.py")]
    scripts = [path.name for path in files(".lua") if re.search(r"'HSET'[^\n]*'live'", read(path))]
    assert scripts == ["promote.lua"]
    allowed = {Path("feedback/policies.py"), Path("feedback/promotion.py")}
    assert {path for path in modules() if "ALIASES" in re.findall(r"\bkeys\.(\w+)", read(path))} <= allowed


def test_the_trainer_cannot_promote() -> None:
    for path in modules():
        if path.parts[0] != "trainer":
            continue
        for node in ast.walk(ast.parse(read(path))):
            if isinstance(node, ast.ImportFrom):
                assert node.module != "feedback.promotion", path
                assert "promotion" not in [each.name for each in node.names], path
