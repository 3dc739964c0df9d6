"""What tests share: figures of invented results, and one quick run of a few arms."""

from pathlib import Path

import pytest

from benchmarks.paper.arms import Place, run_arm
from benchmarks.paper.plan import QUICK, wanted
from benchmarks.paper.summary import Results, collect
from tests.benchmarks.paper import made_up


@pytest.fixture(scope="session")
def made_up_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.write(tmp_path_factory.mktemp("paper"), prompts=40)


@pytest.fixture(scope="session")
def made_up_results(made_up_root: Path) -> Results:
    return collect(made_up_root, (1, 2, 3))


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Results of PPO against a K-wise reward model, of one fold, and of what they need."""
    place = Place(tmp_path_factory.mktemp("paper"), 7, QUICK)
    for arm in wanted(["ppo-ptx", "reward-pairs", "reward-fold-0"]):
        run_arm(arm.name, place)
    return place
