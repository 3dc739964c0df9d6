"""The canary over HTTP: shares, conflicts, versions that are none, the audit."""

from typing import TYPE_CHECKING, Any

import pytest

from feedback import canary, promotion
from tests.serve.routes.test_operations import operate, register

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
PATH = "canary"


@pytest.fixture
def versions(world: "World") -> list[str]:
    """Three policies; the first is live."""
    found = [register(world.ledger) for _ in range(3)]
    promotion.promote(world.ledger, found[0], "setup")
    return found


def test_a_canary_begins_grows_and_ends_under_the_operators_name(world: "World", versions: list[str]) -> None:
    begun = operate(world, "POST", PATH, {"version": versions[1], "share": 10, "reason": "a tenth"})
    assert begun.status_code == 200
    assert {key: begun.json()["canary"][key] for key in ("version", "share", "actor")} == {
        "version": versions[1],
        "share": 10,
        "actor": "olga",
    }
    assert operate(world, "POST", PATH, {"version": versions[1], "share": 100}).json()["canary"]["share"] == 100
    assert operate(world, "GET", "status").json()["canary"]["share"] == 100
    ended = operate(world, "DELETE", PATH, {"reason": "enough"})
    assert ended.json()["ended"]["version"] == versions[1]
    assert operate(world, "GET", "status").json()["canary"] is None
    entries = [(e.actor, e.action, e.reason) for e in promotion.audit(world.ledger) if e.subject == "canary"]
    assert entries == [
        ("olga", "begin canary", "a tenth"),
        ("olga", "begin canary", ""),
        ("olga", "end canary", "enough"),
    ]


@pytest.mark.parametrize("share", [-1, 101, 12.5, "10%", "10", None, True, [10], 10**30])
def test_a_share_that_is_no_whole_percent_is_refused_by_name(
    world: "World", versions: list[str], share: object
) -> None:
    answer = operate(world, "POST", PATH, {"version": versions[1], "share": share})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "share"
    assert canary.running(world.ledger) is None


def test_a_share_of_nan_is_not_json_and_a_missing_one_is_named(world: "World", versions: list[str]) -> None:
    headers = {"Authorization": f"Bearer {world.secret('operator', 'olga')}", "Content-Type": "application/json"}
    raw = f'{{"version": "{versions[1]}", "share": NaN}}'
    assert world.client.post("/v1/operations/canary", content=raw, headers=headers).status_code == 400
    missing = operate(world, "POST", PATH, {"version": versions[1]})
    assert (missing.status_code, missing.json()["error"]["param"]) == (400, "share")


@pytest.mark.parametrize("share", [0, 100])
def test_the_ends_of_the_scale_are_shares(world: "World", versions: list[str], share: int) -> None:
    assert operate(world, "POST", PATH, {"version": "candidate", "share": share}).status_code == 200
    running = canary.running(world.ledger)
    assert running is not None
    assert (running.version, running.share) == (versions[2], share)


def test_the_live_policy_a_second_canary_and_an_end_of_nothing_are_conflicts(
    world: "World", versions: list[str]
) -> None:
    assert operate(world, "DELETE", PATH).status_code == 409
    assert operate(world, "POST", PATH, {"version": "live", "share": 10}).status_code == 409
    assert operate(world, "POST", PATH, {"version": versions[1], "share": 10}).status_code == 200
    second = operate(world, "POST", PATH, {"version": versions[2], "share": 10})
    assert second.status_code == 409
    assert versions[1] in second.json()["error"]["message"]


@pytest.mark.parametrize(
    "version",
    [
        "../../x",
        "..%2f",
        "/abs",
        "a/b",
        ".",
        "..",
        "",
        "policy-" + "1" * 300,
        "con",
        "policy-0001\x00",
        "file:///x",
        "http://x/#/../..",
        "policy\u20240001",
        "policy-0001 ",
        "Policy-0001",
        "policy-\u0661\u0661\u0661\u0661",
        7,
        None,
    ],
)
def test_a_version_that_is_no_name_is_refused_by_every_move(
    world: "World", versions: list[str], version: object
) -> None:
    bodies: list[tuple[str, dict[str, Any]]] = [
        (PATH, {"version": version, "share": 1}),
        ("promote", {"version": version}),
    ]
    for path, body in bodies:
        answer = operate(world, "POST", path, body)
        assert answer.status_code == 400, path
        assert answer.json()["error"]["param"] == "version"


def test_a_policy_that_does_not_exist_is_a_404(world: "World", versions: list[str]) -> None:
    assert operate(world, "POST", PATH, {"version": "policy-0099", "share": 1}).status_code == 404


def test_promoting_and_rolling_back_end_the_canary(world: "World", versions: list[str]) -> None:
    operate(world, "POST", PATH, {"version": versions[1], "share": 10})
    promotion.promote(world.ledger, versions[1], "olga")
    assert canary.running(world.ledger) is None
    operate(world, "POST", PATH, {"version": versions[2], "share": 10})
    assert operate(world, "POST", "rollback").status_code == 200
    assert canary.running(world.ledger) is None


def test_with_one_slot_there_is_no_place_for_a_canary(world: "World", versions: list[str]) -> None:
    object.__setattr__(world.deps, "settings", world.deps.settings.model_copy(update={"slots": 1}))
    answer = operate(world, "POST", PATH, {"version": versions[1], "share": 10})
    assert answer.status_code == 409
    assert "one slot" in answer.json()["error"]["message"]
