"""Contests over HTTP: begun under the operator's name, refused with the reason, read with their figures."""

import json
from typing import TYPE_CHECKING

import pytest

from feedback import contests, keys, promotion, prompts
from tests.builders import make_prompt
from tests.serve.routes.test_operations import operate, register

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
PATH = "contests"


@pytest.fixture
def versions(world: "World") -> list[str]:
    """Three policies, of which two are served, and five held-out prompts."""
    found = [register(world.ledger) for _ in range(3)]
    promotion.promote(world.ledger, found[0], "setup")
    slots = [{"slot": name, "version": version, "state": "ready"} for name, version in zip("ab", found, strict=False)]
    world.ledger.redis.set(keys.replica("one"), json.dumps({"slots": slots}))
    for number in range(5):
        prompts.keep(world.ledger, make_prompt(f"{number}?", customer="held out", split="test"), f"{number:09}", 100)
    return found


def test_a_contest_begins_under_the_operators_name_and_is_read_with_its_figures(
    world: "World", versions: list[str]
) -> None:
    body = {"a": "live", "b": versions[1], "prompts": 4, "overlap": 2, "reason": "better?"}
    begun = operate(world, "POST", PATH, body)
    assert begun.status_code == 200
    contest = begun.json()["contest"]
    assert (contest["a"], contest["b"], contest["actor"]) == (versions[0], versions[1], "olga")
    assert (len(contest["prompts"]), contest["overlap"], contest["state"]) == (4, 2, "planned")
    assert contests.plan(world.ledger) == 4
    [shown] = operate(world, "GET", PATH).json()["contests"]
    assert shown["contest"]["id"] == contest["id"]
    assert shown["contest"]["state"] == "running"
    assert shown["win_rate"] == {"mean": None, "low": None, "high": None, "prompts": 0, "labels": 0}
    assert (shown["same"], shown["finished"], shown["lost"]) == (0, 0, 0)


def test_the_newest_comes_first_and_the_number_is_bounded(world: "World", versions: list[str]) -> None:
    ids = [
        operate(world, "POST", PATH, {"a": versions[0], "b": versions[1], "prompts": 1}).json()["contest"]["id"]
        for _ in range(3)
    ]
    shown = operate(world, "GET", f"{PATH}?limit=2").json()["contests"]
    assert [each["contest"]["id"] for each in shown] == ids[:0:-1]
    assert operate(world, "GET", f"{PATH}?limit=101").status_code == 400


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"b": "live"}, 409, "cannot be compared with itself"),
        ({"b": "policy-0002"}, 409, "no replica serves policy-0002"),
        ({"b": "policy-0999"}, 404, "no policy 'policy-0999'"),
        ({"prompts": 6}, 409, "the pool holds 5 of held-out customers"),
        ({"prompts": 0}, 400, "prompts"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    world: "World", versions: list[str], change: dict[str, object], status: int, sentence: str
) -> None:
    answer = operate(world, "POST", PATH, {"a": "live", "b": versions[1], "prompts": 3, **change})
    assert answer.status_code == status
    assert sentence in answer.json()["error"]["message"]
    assert contests.list_contests(world.ledger) == []


@pytest.mark.parametrize("role", ["client", "labeler"])
def test_nobody_else_learns_which_policies_are_compared(world: "World", versions: list[str], role: str) -> None:
    for method in ("GET", "POST"):
        body = {"a": "live", "b": versions[1]} if method == "POST" else None
        assert world.call(method, f"/v1/operations/{PATH}", body, role=role, owner="somebody").status_code == 403
