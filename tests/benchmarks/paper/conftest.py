"""Figures of invented results, collected once for all tests of what is made from them."""

from pathlib import Path

import pytest

from benchmarks.paper.summary import Results, collect
from tests.benchmarks.paper import made_up


@pytest.fixture(scope="session")
def made_up_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.write(tmp_path_factory.mktemp("paper"), prompts=40)


@pytest.fixture(scope="session")
def made_up_results(made_up_root: Path) -> Results:
    return collect(made_up_root, (1, 2, 3))
