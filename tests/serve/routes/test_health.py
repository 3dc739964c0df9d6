"""Health and metrics, and what every route does with a wrong key or a dead ledger."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from feedback.client import Ledger
from serve import errors
from serve.routes import health

if TYPE_CHECKING:
    from tests.conftest import RedisServer
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
SUBMIT = {"token": 1, "submission_id": "0" * 32, "ranking": [[0]]}
WRITE = {"token": 1, "submission_id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "response": "x"}
REVISE = {"submission_id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "ranking": [[0]]}
ROUTES: list[tuple[str, str, Any, set[str]]] = [
    ("POST", "/v1/feedback", {"interaction_id": "int_0", "rating": 1}, {"client", "operator"}),
    ("POST", "/v1/labeling/next", {"queue": "training"}, {"labeler"}),
    ("POST", "/v1/labeling/items/cmp_0/heartbeat", {"token": 1}, {"labeler"}),
    ("POST", "/v1/labeling/items/cmp_0/submit", SUBMIT, {"labeler"}),
    ("POST", "/v1/labeling/items/cmp_0/demonstration", WRITE, {"labeler"}),
    ("PUT", "/v1/labeling/items/cmp_0/draft", {"token": 1, "draft": {}}, {"labeler"}),
    ("GET", "/v1/labeling/labels", None, {"labeler"}),
    ("GET", "/v1/labeling/labels/sub_0", None, {"labeler"}),
    ("POST", "/v1/labeling/labels/sub_0/revise", REVISE, {"labeler"}),
    ("POST", "/v1/labeling/items/cmp_0/skip", {"token": 1, "reason": "other"}, {"labeler"}),
    ("POST", "/v1/labeling/items/cmp_0/report", {"token": 1, "reason": "other"}, {"labeler"}),
    ("POST", "/v1/labeling/items/cmp_0/return", {"token": 1}, {"labeler"}),
    ("GET", "/v1/labeling/queues", None, {"labeler"}),
    ("GET", "/v1/operations/queues", None, {"operator"}),
    ("GET", "/v1/operations/contests", None, {"operator"}),
    ("GET", "/v1/operations/export", None, {"operator"}),
    ("GET", "/v1/operations/snapshots", None, {"operator"}),
    ("POST", "/v1/operations/contests", {"a": "policy-0001", "b": "policy-0002"}, {"operator"}),
    ("PUT", "/v1/operations/queues/training", {"daily_goal": 5}, {"operator"}),
    ("GET", "/v1/labeling/me", None, {"labeler"}),
    ("GET", "/v1/operations/status", None, {"operator"}),
    ("GET", "/v1/operations/policies", None, {"operator"}),
    ("GET", "/v1/operations/policies/policy-0001/lineage", None, {"operator"}),
    ("POST", "/v1/operations/promote", {"version": "policy-0001"}, {"operator"}),
    ("POST", "/v1/operations/rollback", {}, {"operator"}),
    ("POST", "/v1/operations/canary", {"version": "policy-0001", "share": 1}, {"operator"}),
    ("DELETE", "/v1/operations/canary", {}, {"operator"}),
    ("GET", "/v1/operations/rounds", None, {"operator"}),
    ("POST", "/v1/operations/rounds", {"kind": "ppo"}, {"operator"}),
    ("GET", "/v1/operations/swaps", None, {"operator"}),
    ("GET", "/v1/operations/audit", None, {"operator"}),
]
CUSTOMERS, PEOPLE = {"client", "operator"}, {"client", "labeler", "operator"}
WRITING = [
    *(("GET", path) for path in ("guidelines", "practice", "prompts", "prompts/wri_0", "demonstrations")),
    *(("POST", path) for path in ("guidelines/1/acknowledge", "practice", "practice/1", "prompts")),
    *(("POST", f"prompts/wri_0/{move}") for move in ("submit", "withdraw")),
    *(("PUT", "prompts/wri_0"), ("DELETE", "prompts/wri_0"), ("POST", "demonstrations/dem_0/revise")),
]
REVIEWING = [
    *(
        ("GET", path)
        for path in ("guidelines", "reviews", "reviews/cmp_0", "written", "written/wri_0", "demonstrations")
    ),
    *(("POST", path) for path in ("guidelines", "reviews/cmp_0", "demonstrations/dem_0/review")),
    *(("POST", f"written/wri_0/{move}") for move in ("accept", "return", "reject")),
]
QUALITY = [
    *(("GET", path) for path in ("quality", "gold")),
    *(("POST", path) for path in ("gold", "labelers/pause", "labelers/resume", "labelers/lift")),
    ("DELETE", "gold/cmp_0"),
]
TESTED_ELSEWHERE: list[tuple[str, str, Any, set[str]]] = [
    ("GET", "/v1/me", None, {*PEOPLE, "metrics"}),
    ("GET", "/v1/keys", None, PEOPLE),
    ("POST", "/v1/keys/key_0/revoke", {}, PEOPLE),
    ("GET", "/v1/operations/keys", None, {"operator"}),
    ("POST", "/v1/operations/keys", {}, {"operator"}),
    ("PATCH", "/v1/operations/keys/key_0", {}, {"operator"}),
    ("POST", "/v1/operations/keys/key_0/revoke", {}, {"operator"}),
    ("DELETE", "/v1/operations/rounds/current", None, {"operator"}),
    ("GET", "/v1/sessions", None, PEOPLE),
    ("DELETE", "/v1/sessions", None, PEOPLE),
    ("POST", "/v1/battles", {}, CUSTOMERS),
    ("POST", f"/v1/battles/{'0' * 32}/vote", {}, CUSTOMERS),
    ("GET", "/v1/shares", None, CUSTOMERS),
    ("POST", "/v1/shares", {}, CUSTOMERS),
    ("DELETE", f"/v1/shares/{'a' * 22}", None, CUSTOMERS),
    ("POST", "/v1/queue", {}, {"operator"}),
    ("POST", "/v1/erasures", {}, CUSTOMERS),
    ("GET", "/v1/erasures/era_0", None, CUSTOMERS),
    ("POST", "/v1/privacy/preview", {}, CUSTOMERS),
    *((method, f"/v1/labeling/{path}", None if method == "GET" else {}, {"labeler"}) for method, path in WRITING),
    *(
        (method, f"/v1/operations/{path}", None if method == "GET" else {}, {"operator"})
        for method, path in REVIEWING + QUALITY
    ),
]
"""Routes whose own tests say what else they do; here for who may call them."""
OPEN = {"/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
FOR_STRANGERS = {("POST", "/v1/sessions"), ("GET", "/v1/shares/{id}")}
"""Signing in, and what somebody chose to show."""


def test_every_route_says_no_to_every_role_but_its_own_and_to_strangers(world: "World") -> None:
    for method, path, body, roles in ROUTES + TESTED_ELSEWHERE:
        assert world.client.request(method, path, json=body).status_code == 401, path
        for role in ("client", "labeler", "operator", "metrics"):
            status = world.call(method, path, body, role=role).status_code
            assert (status == 403) is (role not in roles), (path, role, status)
            assert status < 500


def test_no_route_is_missing_from_the_matrix_of_roles(world: "World") -> None:
    listed = [(method, path) for method, path, _, _ in ROUTES + TESTED_ELSEWHERE]
    for template, methods in world.app.openapi()["paths"].items():
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", template) + r"\Z")
        for method in map(str.upper, methods):
            if template not in OPEN and (method, template) not in FOR_STRANGERS:
                assert any(known == method and pattern.match(path) for known, path in listed), (method, template)


def test_unauthorized_answer_is_the_openai_envelope_and_says_how(world: "World") -> None:
    answer = world.client.post("/v1/feedback", json={})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_unknown_path_and_wrong_method_are_envelopes_too(world: "World") -> None:
    assert world.client.get("/v1/nothing").json()["error"]["code"] == "not_found"
    answer = world.client.get("/v1/feedback")
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_live_says_so_unless_an_engine_is_beyond_help(world: "World", monkeypatch: pytest.MonkeyPatch) -> None:
    world.traffic.dead = True
    assert world.client.get("/livez").json() == {"status": "live"}
    monkeypatch.setattr(type(world.watchdog), "stuck", property(lambda _: True))
    answer = world.client.get("/livez")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "engine_unavailable"


def test_ready_only_while_the_live_slot_generates(world: "World") -> None:
    assert world.client.get("/readyz").json() == {"status": "ready", "degraded": []}
    world.traffic.dead = True
    answer = world.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.json()["error"]["code"] == "engine_unavailable"
    world.traffic.dead = False
    assert world.client.get("/readyz").status_code == 200
    assert world.traffic.probes == 3


def test_while_draining_it_is_not_ready_at_once(world: "World") -> None:
    assert world.client.get("/readyz").status_code == 200
    world.deps.admission.draining = True
    answer = world.client.get("/readyz")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert "about to end" in answer.json()["error"]["message"]
    assert world.client.get("/livez").status_code == 200


def test_without_a_live_engine_it_is_not_ready_whatever_the_last_look_said(world: "World") -> None:
    object.__setattr__(world.deps, "settings", world.deps.settings.model_copy(update={"ready_cache_s": 60.0}))
    assert world.client.get("/readyz").status_code == 200
    world.traffic.dead = True
    assert world.client.get("/readyz").status_code == 200  # what the probe said is reused
    world.traffic.answering = False
    assert world.client.get("/readyz").status_code == 503


def test_a_spool_that_takes_nothing_makes_it_not_ready(world: "World") -> None:
    directory = world.deps.settings.spool_root / world.deps.settings.replica
    directory.rename(directory.with_name("gone"))
    answer = world.client.get("/readyz")
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "the spool cannot be written")
    directory.with_name("gone").rename(directory)
    assert world.client.get("/readyz").status_code == 200
    assert list(directory.iterdir()) == []


def test_metrics_are_valid_and_count_the_ledger(world: "World") -> None:
    world.comparison(k=2)
    families = {each.name: each for each in text_string_to_metric_families(world.client.get("/metrics").text)}
    sizes = {each.labels["kind"]: each.value for each in families["whetstone_ledger_records"].samples}
    assert sizes["prompts"] == 1
    assert sizes["waiting_training"] == 1
    assert families["whetstone_ledger_up"].samples[0].value == 1
    assert "python_info" in families


def test_metrics_may_need_a_key(world: "World") -> None:
    closed = world.deps.settings.model_copy(update={"metrics_key_required": True})
    app = FastAPI()
    errors.install(app)
    deps = type(world.deps)(**{**vars(world.deps), "settings": closed})
    app.include_router(health.make_router(deps))
    client = TestClient(app)
    assert client.get("/metrics").status_code == 401
    for role, status in (("client", 403), ("labeler", 403), ("metrics", 200)):
        headers = {"Authorization": f"Bearer {world.secret(role)}"}
        assert client.get("/metrics", headers=headers).status_code == status


def test_dead_ledger_is_503_with_retry_after_and_no_address(tmp_path: Path, redis_server: "RedisServer") -> None:
    from tests.conftest import RedisServer
    from tests.serve.routes.conftest import World

    server = RedisServer(tmp_path / "own")
    server.start()
    try:
        world = World(Ledger(server.url, timeout_s=0.5), tmp_path)
        for role in ("client", "labeler", "operator"):
            world.call("GET", "/v1/labeling/me", role=role)
        server.kill()
        for method, path, body, roles in ROUTES:
            answer = world.call(method, path, body, role=min(roles))
            assert answer.status_code == 503, path
            assert answer.headers["retry-after"] == "2"
            assert answer.json()["error"]["code"] == "ledger_unavailable"
            assert str(server.port) not in answer.text
        assert world.client.get("/livez").status_code == 200
        assert world.client.get("/readyz").json() == {"status": "ready", "degraded": ["ledger"]}
        assert "whetstone_ledger_up 0.0" in world.client.get("/metrics").text
    finally:
        server.kill()
