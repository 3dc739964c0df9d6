"""Arms come after what they need, and a result is another one when anything before it is."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.paper import plan
from benchmarks.paper.plan import ARMS, BY_NAME, QUICK, SETTINGS, Sizes, identity, settle, wanted
from trainer.settings.ppo import PpoSettings


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, Mapping[str, Any]]:
    found = dict(SETTINGS)
    monkeypatch.setattr(plan, "SETTINGS", found)
    return found


def test_every_arm_comes_after_what_it_needs() -> None:
    seen: set[str] = set()
    for arm in ARMS:
        assert set(arm.needs) <= seen, arm.name
        seen.add(arm.name)
    assert len(seen) == len(ARMS)


def test_an_arm_brings_all_that_it_needs() -> None:
    first = ["base", "sft", "start", "comparisons-first", "reward-first", "ppo-first"]
    assert [arm.name for arm in wanted(["ppo"])] == [*first, "comparisons", "reward", "ppo"]
    assert wanted([]) == list(ARMS)
    with pytest.raises(KeyError):
        wanted(["unheard-of"])


def test_identities_follow_seed_sizes_and_options() -> None:
    ptx = BY_NAME["ppo-ptx"]
    assert identity(ptx, QUICK, 1) == identity(ptx, QUICK, 1)
    others = [
        identity(ptx, QUICK, 2),
        identity(ptx, Sizes(), 1),
        identity(BY_NAME["ppo"], QUICK, 1),
        identity(replace(ptx, options={"clip": 0.1}), QUICK, 1),
    ]
    assert len({identity(ptx, QUICK, 1), *others}) == 5


def test_identities_follow_the_settings_of_what_came_before(table: dict[str, Mapping[str, Any]]) -> None:
    before = {name: identity(BY_NAME[name], QUICK, 1) for name in ("sft", "comparisons-first", "reward", "ppo", "base")}
    table["reward"] = {**table["reward"], "lr": 1e-5}
    after = {name: identity(BY_NAME[name], QUICK, 1) for name in before}
    assert {name for name in before if before[name] != after[name]} == {"reward", "ppo"}


def test_what_is_given_goes_before_the_plan_and_the_plan_before_the_preset(
    table: dict[str, Mapping[str, Any]],
) -> None:
    table["ppo"] = {"lr": 0.5, "clip": 0.3}
    given = {"policy": "p", "reward": "r", "prompts": ["q"], "output": "o", "clip": 0.4}
    found = settle("ppo", PpoSettings, given)
    assert (found.lr, found.clip, found.batch_size) == (0.5, 0.4, 64)
