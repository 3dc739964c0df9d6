"""Runs every item's test on the true code, and then under each of its mutations; a table as JSON lines.

``python -m tests.trainer.checklist.break_each DIRECTORY [ITEM ...]``: what takes seconds to import is imported once;
then a child is forked for each mutation. In the child an import hook serves the broken source, so that no file is
touched. A line of ``DIRECTORY/verdicts.jsonl``: ``{"name", "verdict", "said", "s"}`` with the verdicts

    noticed    the test failed inside, by an assertion or an exception
    survived   the test passed: it does not test this detail
    void       anything else: text not found, module never imported, failure outside the test, a hang

and one line named ``true code`` whose verdict is ``passed`` or ``failed``.
"""

from __future__ import annotations

import gc
import importlib
import importlib.machinery
import importlib.util
import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

from tests.trainer.checklist.mutation import ROOT, Mutation, node_ids
from tests.trainer.checklist.mutations import MUTATIONS

AT_ONCE = 2
HANG_S = 120
HEAVY = (
    "torch", "transformers.models.llama.modeling_llama", "transformers.models.gpt2.modeling_gpt2", "tokenizers",
    "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto", "safetensors.torch",
    "pydantic", "msgspec", "redis", "prometheus_client", "structlog", "tqdm", "tensorboardX", "torch._dynamo", "peft",
    "pytest_timeout",
)  # fmt: skip
"""Imported before the forks; nothing of ours is, so that a child imports the broken source."""
TABLE = pytest.StashKey[list[dict[str, Any]]]()
"""Where a test run keeps the verdicts until its end."""
NO_TEST_FAILURE = (ImportError, SyntaxError, NameError)
"""A mutation that does not even run shows nothing."""


class Broken(importlib.machinery.SourceFileLoader, MetaPathFinder):
    """Finds and loads one module from broken source."""

    def __init__(self, mutation: Mutation) -> None:
        super().__init__(mutation.module, str(mutation.path))
        self.source, self.served = mutation.source(), False

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> Any:
        return (
            importlib.util.spec_from_file_location(fullname, self.path, loader=self) if fullname == self.name else None
        )

    def get_code(self, fullname: str) -> CodeType:
        self.served = True
        return compile(self.source, self.path, "exec", dont_inherit=True)


class Verdicts:
    """What pytest saw of the tests themselves."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.failed: dict[str, str] = {}
        self.elsewhere: dict[str, str] = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report = (yield).get_result()
        if report.failed:
            error = call.excinfo.value if call.excinfo else None
            inside = report.when == "call" and not isinstance(error, NO_TEST_FAILURE) and "Timeout" not in repr(error)
            (self.failed if inside else self.elsewhere)[item.name] = f"{type(error).__name__}: {error}"
        elif report.when == "call" and report.passed:
            self.passed.append(item.name)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.elsewhere[report.nodeid] = str(report.longrepr)


def run(nodes: Sequence[str], scratch: Path) -> Verdicts:
    """Run these tests in this process."""
    seen = Verdicts()
    options = ["-q", "-p", "no:cacheprovider", "-p", "pytest_timeout", f"--timeout={HANG_S}", f"--basetemp={scratch}"]
    pytest.main([*nodes, *options], plugins=[seen])
    return seen


def judge(mutation: Mutation, scratch: Path) -> tuple[str, str]:
    """The verdict on one mutation, and what was said."""
    loader = Broken(mutation)
    sys.meta_path.insert(0, loader)
    seen = run([node_ids()[mutation.item]], scratch)
    if seen.elsewhere or not loader.served:
        return "void", next(iter(seen.elsewhere.values()), f"{mutation.module} was not imported")
    if seen.failed:
        return "noticed", next(iter(seen.failed.values()))
    return ("survived", "") if seen.passed else ("void", "the test was skipped")


def judge_true_code(scratch: Path, items: Sequence[int]) -> tuple[str, str]:
    seen = run([node_ids()[item] for item in items], scratch)
    said = {**seen.failed, **seen.elsewhere}
    whole = len(seen.passed) == len(items) and not said
    return ("passed", f"{len(seen.passed)} tests") if whole else ("failed", f"{said}, passed: {len(seen.passed)}")


def child(number: int, mutation: Mutation | None, directory: Path, items: Sequence[int]) -> None:
    """Judge in a forked process; the verdict goes to a file of its own."""
    began_s = time.monotonic()
    log = os.open(directory / f"{number}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    scratch = directory / f"scratch-{number}"
    name = mutation.name if mutation else "true code"
    try:
        verdict, said = judge(mutation, scratch) if mutation else judge_true_code(scratch, items)
    except LookupError as error:
        verdict, said = "void", str(error)
    except BaseException:
        verdict, said = "void", traceback.format_exc()
    said = said.strip().splitlines()[0][:300] if said.strip() else ""
    line = {"name": name, "verdict": verdict, "said": said, "s": round(time.monotonic() - began_s, 2)}
    (directory / f"{number}.json").write_text(json.dumps(line))


def main(directory: Path, wanted: Sequence[int]) -> None:
    """Judge all, two at a time; children that die without a word are void."""
    for name in HEAVY:
        importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)
    gc.freeze()  # a child's collections then pass over what it inherited
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    items = [item for item in sorted(node_ids()) if not wanted or item in wanted]
    jobs: list[Mutation | None] = [None, *(each for each in MUTATIONS if each.item in items)]
    alive: dict[int, int] = {}
    for number, mutation in enumerate(jobs):
        if len(alive) >= AT_ONCE:
            alive.pop(os.wait()[0])
        if (pid := os.fork()) == 0:
            try:
                child(number, mutation, directory, items)
            finally:
                os._exit(0)
        alive[pid] = number
    while alive:
        alive.pop(os.wait()[0])
    with (directory / "verdicts.jsonl").open("w") as file:
        for number, mutation in enumerate(jobs):
            found = directory / f"{number}.json"
            name = mutation.name if mutation else "true code"
            died = json.dumps({"name": name, "verdict": "void", "said": "the process died", "s": 0.0})
            file.write((found.read_text() if found.exists() else died) + "\n")


if __name__ == "__main__":
    os.chdir(ROOT)
    main(Path(sys.argv[1]), [int(each) for each in sys.argv[2:]])
