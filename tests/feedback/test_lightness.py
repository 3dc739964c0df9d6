"""The ledger stays light: importing it starts no engine, framework or tensor library."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import importlib, pkgutil, sys
import feedback
for module in pkgutil.walk_packages(feedback.__path__, "feedback."):
    importlib.import_module(module.name)
heavy = {"torch", "vllm", "transformers", "fastapi", "celery", "serve", "trainer", "workers", "sandbox", "deploy"}
print(sorted(heavy & set(sys.modules)))
"""


def test_importing_every_module_of_the_ledger_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"
