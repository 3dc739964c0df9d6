"""House rules: small files, small functions, a docstring and a test for every module, no leftovers."""

import ast
import re
from pathlib import Path

from tests.sources import PACKAGES, ROOT, files, modules, texts

MOST_LINES = 300
MOST_FUNCTION_LINES = 80
LONG_FILES = {
    "feedback/keys.py": "one catalogue of every key of the ledger; no other module spells one",
    "tests/feedback/test_leases.py": "every way in which a lease can be won or lost, side by side",
    "tests/serve/test_app.py": "one server with two engines is started once for all of it",
}
"""Source files that are longer, and why."""
CLI = "tests/deploy/test_cli.py"
DEMO = "make demo"
RECORDS = "tests/feedback/test_records.py"
TESTED_BY = {
    "feedback/records/answers.py": RECORDS,
    "feedback/records/base.py": RECORDS,
    "feedback/records/people.py": RECORDS,
    "feedback/records/serving.py": RECORDS,
    "feedback/records/traffic.py": RECORDS,
    "feedback/records/training.py": RECORDS,
    "feedback/records/work.py": RECORDS,
    "deploy/base.py": DEMO,
    "deploy/cli/__main__.py": CLI,
    "deploy/cli/contests.py": "tests/deploy/test_cli_contests.py",
    "deploy/cli/copies.py": "tests/deploy/test_cli_copies.py",
    "deploy/cli/guidelines.py": "tests/deploy/test_cli_guidelines.py",
    "deploy/cli/data.py": "tests/deploy/test_cli_data.py",
    "deploy/cli/gold.py": "tests/deploy/test_cli_gold.py",
    "deploy/cli/keys.py": CLI,
    "deploy/cli/main.py": CLI,
    "deploy/cli/output.py": CLI,
    "deploy/cli/policies.py": CLI,
    "deploy/cli/privacy.py": "tests/deploy/test_cli_privacy.py",
    "deploy/cli/rounds.py": "tests/deploy/test_cli_rounds.py",
    "deploy/cli/session.py": CLI,
    "deploy/cli/status.py": CLI,
    "deploy/demo/director.py": DEMO,
    "deploy/demo/main.py": DEMO,
    "deploy/demo/measure.py": "tests/deploy/test_measure.py",
    "deploy/demo/traffic.py": "tests/deploy/test_measure.py",
    "deploy/up.py": DEMO,
    "sandbox/vocabulary.py": "tests/sandbox/test_world.py",
    "serve/__main__.py": "tests/serve/test_server.py",
    "serve/asking/schemas_quality.py": "tests/serve/routes/test_quality.py",
    "serve/asking/schemas_writing.py": "tests/serve/routes/test_writing.py",
    "serve/dependencies.py": "tests/serve/routes/conftest.py",
    "serve/engines/base.py": "tests/serve/engines/test_vllm.py",
    "serve/engines/worker_extension.py": "tests/serve/engines/test_vllm.py",
    "serve/routes/models.py": "tests/serve/test_app.py",
    "serve/settings.py": "tests/deploy/test_stack.py",
    "trainer/running/layout.py": "tests/trainer/running/test_run.py",
    "trainer/rounds/register.py": "tests/trainer/rounds/test_service.py",
    "trainer/settings/service.py": "tests/deploy/test_stack.py",
    "workers/__main__.py": "tests/workers/conftest.py",
}
"""Modules without a test file of their own name, and what runs them: a test file, or the demonstration."""
SOURCES = (".py", ".js", ".css", ".lua", ".sh", ".html")
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
    assert set(missing) <= set(TESTED_BY), f"without any test: {sorted(set(missing) - set(TESTED_BY))}"
    assert set(TESTED_BY) <= set(missing), f"has a test of its own now: {sorted(set(TESTED_BY) - set(missing))}"


def test_what_stands_in_for_a_test_file_exists() -> None:
    for tests in set(TESTED_BY.values()) - {DEMO}:
        assert (ROOT / tests).is_file(), tests


def test_nothing_is_left_over_and_no_machine_is_named() -> None:
    found = [
        f"{path}:{number} {line.strip()}"
        for path in texts()
        if path != THIS
        for number, line in enumerate(read(path).splitlines(), 1)
        if LEFTOVERS.search(line) or MACHINE_PATHS.search(line)
    ]
    assert found == []


def test_no_module_is_called_after_nothing() -> None:
    shared_by_all_benchmarks = Path("benchmarks/common.py")
    found = [path for path in files(".py") if path.stem in NAMES_OF_NOTHING]
    assert set(found) <= {shared_by_all_benchmarks}


def test_every_directory_of_modules_is_a_package() -> None:
    for path in modules():
        assert (ROOT / path.parent / "__init__.py").is_file(), f"{path.parent} has no __init__.py"
    assert {path.parts[0] for path in modules()} == set(PACKAGES)


def test_one_module_moves_live() -> None:
    callers = [path for path in modules() if re.search(r"ledger\.run\(\s*\"promote\"", read(path))]
    assert callers == [Path("feedback/promotion.py")]
    scripts = [path.name for path in files(".lua") if re.search(r"'HSET'[^\n]*'live'", read(path))]
    assert scripts == ["promote.lua"]
    allowed = {Path("feedback/policies.py"), Path("feedback/promotion.py"), Path("feedback/canary.py")}
    assert {path for path in modules() if "ALIASES" in re.findall(r"\bkeys\.(\w+)", read(path))} <= allowed


def test_the_trainer_cannot_promote() -> None:
    for path in modules():
        if path.parts[0] != "trainer":
            continue
        for node in ast.walk(ast.parse(read(path))):
            if isinstance(node, ast.ImportFrom):
                assert node.module != "feedback.promotion", path
                assert "promotion" not in [each.name for each in node.names], path
