"""Keys over HTTP: operators have them all, others their own; secrets once, changes in the audit."""

from datetime import timedelta
from typing import Any

import pytest

from feedback import access, promotion
from feedback.errors import InvalidKey
from feedback.records import utc_now
from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
ALL = "/v1/operations/keys"


def make(world: World, **fields: Any) -> dict[str, Any]:
    answer = world.call("POST", ALL, {"role": "client", "owner": "acme", **fields}, role="operator")
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def test_a_key_is_made_with_everything_that_was_asked_for_and_its_secret_told_once(world: World) -> None:
    start = utc_now() + timedelta(hours=1)
    fields = {"consent": False, "requests_per_minute": 60, "tokens_per_day": 9000, "not_before": start.isoformat()}
    made = make(world, **fields)
    assert made["key"].startswith("ws-client-")
    assert (made["owner"], made["consent"], made["state"]) == ("acme", False, "not yet valid")
    assert "secret_sha256" not in made
    listed = world.call("GET", ALL, role="operator").json()
    assert made["key"] not in str(listed)
    shown = next(each for each in listed if each["id"] == made["id"])
    assert (shown["requests_per_minute"], shown["tokens_per_day"], shown["last_used_at"]) == (60, 9000, None)
    assert access.list_keys(world.ledger)[-1].not_before == start


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"role": "superuser"}, "role"),
        ({"scope": "*"}, "scope"),
        ({"owner": ""}, "owner"),
        ({"owner": "x" * 10_240}, "owner"),
        ({"owner": "two\nlines"}, "owner"),
        ({"owner": "   "}, "owner"),
        ({"requests_per_minute": -1}, "requests_per_minute"),
        ({"tokens_per_day": -1}, "tokens_per_day"),
        ({"tokens_per_day": 1.5}, "tokens_per_day"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expire"),
        ({"expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"group": "training"}, "group"),
        ({"id": "key_mine"}, "id"),
        ({"secret_sha256": "0" * 64}, "secret_sha256"),
    ],
)
def test_a_key_that_should_not_exist_is_refused_by_name(world: World, fields: dict[str, Any], named: str) -> None:
    before = len(access.list_keys(world.ledger))
    body = {"role": "client", "owner": "acme", **fields}
    answer = world.call("POST", ALL, body, role="operator")
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]
    assert len(access.list_keys(world.ledger)) == before + 1  # the operator's own


def test_quotas_and_consent_are_changed_and_nothing_else_is(world: World) -> None:
    made = make(world)
    place = f"{ALL}/{made['id']}"
    changed = world.call("PATCH", place, {"tokens_per_day": 7, "consent": False}, role="operator").json()
    assert (changed["tokens_per_day"], changed["consent"], changed["requests_per_minute"]) == (7, False, 0)
    for body in ({}, {"role": "operator"}, {"owner": "beta"}, {"tokens_per_day": -1}):
        assert world.call("PATCH", place, body, role="operator").status_code == 400
    assert world.call("PATCH", f"{ALL}/key_nobody", {"consent": True}, role="operator").status_code == 404


def test_revocation_is_final_and_the_last_operator_stays(world: World) -> None:
    made = make(world)
    revoked = world.call("POST", f"{ALL}/{made['id']}/revoke", role="operator").json()
    assert revoked["state"] == "revoked"
    with pytest.raises(InvalidKey):
        access.find(world.ledger, made["key"])
    own = next(each["id"] for each in world.call("GET", ALL, role="operator").json() if each["role"] == "operator")
    for path in (f"{ALL}/{own}/revoke", f"/v1/keys/{own}/revoke"):
        answer = world.call("POST", path, role="operator")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert world.call("POST", f"{ALL}/key_nobody/revoke", role="operator").status_code == 404


def test_every_change_is_in_the_audit_under_its_makers_name(world: World) -> None:
    made = make(world)
    world.call("PATCH", f"{ALL}/{made['id']}", {"consent": False}, role="operator")
    world.call("POST", f"{ALL}/{made['id']}/revoke", role="operator")
    entries = list(promotion.audit(world.ledger))
    assert [(entry.actor, entry.action, entry.subject) for entry in entries] == [
        ("ada", "make key", made["id"]),
        ("ada", "change key", made["id"]),
        ("ada", "revoke key", made["id"]),
    ]
    assert made["key"] not in str(entries)


def test_a_customer_sees_and_revokes_its_own_keys_and_no_others(world: World) -> None:
    mine = world.call("GET", "/v1/keys", role="client", owner="acme").json()
    assert [each["owner"] for each in mine] == ["acme"]
    second = make(world)
    foreign = make(world, owner="beta")
    namesake = make(world, role="operator")  # an operator who is called like the customer is somebody else
    for id in (foreign["id"], namesake["id"], "key_nobody"):
        answer = world.call("POST", f"/v1/keys/{id}/revoke", role="client", owner="acme")
        assert answer.status_code == 404
    assert world.call("POST", f"/v1/keys/{second['id']}/revoke", role="client", owner="acme").status_code == 200
    states = [each["state"] for each in world.call("GET", "/v1/keys", role="client", owner="acme").json()]
    assert sorted(states) == ["revoked", "valid"]


@pytest.mark.parametrize("role", ["client", "labeler", "metrics"])
def test_only_operators_have_all_keys(world: World, role: str) -> None:
    for method, path in (("GET", ALL), ("POST", ALL), ("PATCH", f"{ALL}/key_x"), ("POST", f"{ALL}/key_x/revoke")):
        body = {"role": "operator", "owner": "eve"} if method == "POST" else None
        assert world.call(method, path, body, role=role).status_code == 403


def test_an_operator_gives_a_labeler_skills(world: World) -> None:
    body = {"role": "labeler", "owner": "lee", "skills": ["lang:de"]}
    made = world.call("POST", "/v1/operations/keys", body, role="operator")
    assert (made.status_code, made.json()["skills"]) == (201, ["lang:de"])
    path = f"/v1/operations/keys/{made.json()['id']}"
    changed = world.call("PATCH", path, {"skills": ["lang:de", "medicine"]}, role="operator")
    assert changed.json()["skills"] == ["lang:de", "medicine"]
    refused = world.call("POST", "/v1/operations/keys", {**body, "role": "client"}, role="operator")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "skills")
