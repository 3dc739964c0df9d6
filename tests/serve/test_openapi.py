"""The document against the routes: nothing missing, nothing made up, and everybody let in or out as it says."""

import http.client
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount, Route

from feedback import access
from feedback.client import Ledger
from feedback.records import utc_now
from serve import openapi
from serve.app import make_app
from serve.recording.spool import Spool
from serve.settings import ServeSettings
from tests.serve.served import Served, served

CLIENTS, LABELERS, OPERATORS = ("client", "operator"), ("labeler",), ("operator",)
PEOPLE = ("client", "labeler", "operator")
#: Who may call what. A route that is not here, or takes others than stated here, fails the tests: change it knowingly.
INVENTORY: dict[tuple[str, str], tuple[str, ...]] = {
    ("POST", "/v1/chat/completions"): CLIENTS,
    ("POST", "/v1/completions"): CLIENTS,
    ("GET", "/v1/models"): CLIENTS,
    ("GET", "/v1/versions"): CLIENTS,
    ("GET", "/v1/me"): ("client", "labeler", "operator", "metrics"),
    ("POST", "/v1/sessions"): (),
    ("GET", "/v1/sessions"): PEOPLE,
    ("DELETE", "/v1/sessions"): PEOPLE,
    ("GET", "/v1/keys"): PEOPLE,
    ("POST", "/v1/keys/{key_id}/revoke"): PEOPLE,
    ("GET", "/v1/operations/keys"): OPERATORS,
    ("POST", "/v1/operations/keys"): OPERATORS,
    ("PATCH", "/v1/operations/keys/{key_id}"): OPERATORS,
    ("POST", "/v1/operations/keys/{key_id}/revoke"): OPERATORS,
    ("POST", "/v1/feedback"): CLIENTS,
    ("POST", "/v1/battles"): CLIENTS,
    ("POST", "/v1/battles/{id}/vote"): CLIENTS,
    ("GET", "/v1/shares"): CLIENTS,
    ("POST", "/v1/shares"): CLIENTS,
    ("DELETE", "/v1/shares/{id}"): CLIENTS,
    ("GET", "/v1/shares/{id}"): (),
    ("POST", "/v1/erasures"): CLIENTS,
    ("GET", "/v1/erasures/{id}"): CLIENTS,
    ("POST", "/v1/privacy/preview"): CLIENTS,
    ("POST", "/v1/queue"): OPERATORS,
    ("GET", "/v1/operations/contests"): OPERATORS,
    ("POST", "/v1/operations/contests"): OPERATORS,
    ("POST", "/v1/labeling/next"): LABELERS,
    ("POST", "/v1/labeling/items/{item_id}/heartbeat"): LABELERS,
    ("POST", "/v1/labeling/items/{item_id}/submit"): LABELERS,
    ("POST", "/v1/labeling/items/{item_id}/demonstration"): LABELERS,
    ("PUT", "/v1/labeling/items/{item_id}/draft"): LABELERS,
    ("GET", "/v1/labeling/labels"): LABELERS,
    ("GET", "/v1/labeling/labels/{label_id}"): LABELERS,
    ("POST", "/v1/labeling/labels/{label_id}/revise"): LABELERS,
    ("POST", "/v1/labeling/items/{item_id}/skip"): LABELERS,
    ("POST", "/v1/labeling/items/{item_id}/report"): LABELERS,
    ("POST", "/v1/labeling/items/{item_id}/return"): LABELERS,
    ("GET", "/v1/labeling/queues"): LABELERS,
    ("GET", "/v1/operations/queues"): OPERATORS,
    ("PUT", "/v1/operations/queues/{name}"): OPERATORS,
    ("GET", "/v1/labeling/me"): LABELERS,
    ("GET", "/v1/labeling/guidelines"): LABELERS,
    ("POST", "/v1/labeling/guidelines/{version}/acknowledge"): LABELERS,
    ("GET", "/v1/operations/guidelines"): OPERATORS,
    ("POST", "/v1/operations/guidelines"): OPERATORS,
    ("GET", "/v1/labeling/practice"): LABELERS,
    ("POST", "/v1/labeling/practice"): LABELERS,
    ("POST", "/v1/labeling/practice/{item_id}"): LABELERS,
    ("GET", "/v1/labeling/prompts"): LABELERS,
    ("POST", "/v1/labeling/prompts"): LABELERS,
    ("GET", "/v1/labeling/prompts/{item_id}"): LABELERS,
    ("PUT", "/v1/labeling/prompts/{item_id}"): LABELERS,
    ("POST", "/v1/labeling/prompts/{item_id}/submit"): LABELERS,
    ("POST", "/v1/labeling/prompts/{item_id}/withdraw"): LABELERS,
    ("DELETE", "/v1/labeling/prompts/{item_id}"): LABELERS,
    ("GET", "/v1/labeling/demonstrations"): LABELERS,
    ("POST", "/v1/labeling/demonstrations/{item_id}/revise"): LABELERS,
    ("GET", "/v1/operations/reviews"): OPERATORS,
    ("GET", "/v1/operations/reviews/{item_id}"): OPERATORS,
    ("POST", "/v1/operations/reviews/{item_id}"): OPERATORS,
    ("GET", "/v1/operations/written"): OPERATORS,
    ("GET", "/v1/operations/written/{item_id}"): OPERATORS,
    ("POST", "/v1/operations/written/{item_id}/accept"): OPERATORS,
    ("POST", "/v1/operations/written/{item_id}/return"): OPERATORS,
    ("POST", "/v1/operations/written/{item_id}/reject"): OPERATORS,
    ("GET", "/v1/operations/demonstrations"): OPERATORS,
    ("POST", "/v1/operations/demonstrations/{item_id}/review"): OPERATORS,
    ("GET", "/v1/operations/quality"): OPERATORS,
    ("POST", "/v1/operations/labelers/pause"): OPERATORS,
    ("POST", "/v1/operations/labelers/resume"): OPERATORS,
    ("POST", "/v1/operations/labelers/lift"): OPERATORS,
    ("GET", "/v1/operations/gold"): OPERATORS,
    ("POST", "/v1/operations/gold"): OPERATORS,
    ("DELETE", "/v1/operations/gold/{item_id}"): OPERATORS,
    ("GET", "/v1/operations/export"): OPERATORS,
    ("GET", "/v1/operations/snapshots"): OPERATORS,
    ("GET", "/v1/operations/status"): OPERATORS,
    ("GET", "/v1/operations/policies"): OPERATORS,
    ("GET", "/v1/operations/policies/{version}/lineage"): OPERATORS,
    ("GET", "/v1/operations/rounds"): OPERATORS,
    ("POST", "/v1/operations/rounds"): OPERATORS,
    ("DELETE", "/v1/operations/rounds/current"): OPERATORS,
    ("GET", "/v1/operations/swaps"): OPERATORS,
    ("GET", "/v1/operations/audit"): OPERATORS,
    ("POST", "/v1/operations/promote"): OPERATORS,
    ("POST", "/v1/operations/rollback"): OPERATORS,
    ("POST", "/v1/operations/canary"): OPERATORS,
    ("DELETE", "/v1/operations/canary"): OPERATORS,
    ("GET", "/livez"): (),
    ("GET", "/readyz"): (),
    ("GET", "/metrics"): (),
}
PAGES = {"/", "/playground", "/labeling", "/writing", "/operations", "/review", "/quality", "/privacy", "/share"}
PAGES |= {"/docs", "/openapi.json"}
STATIC = "/static/{page}/{name}"
FILLED = {"{key_id}": "key_x", "{item_id}": "cmp_x", "{version}": "live"}


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    settings = ServeSettings.load(engine="none", artifact_root=tmp_path, spool_root=tmp_path)
    return make_app(settings, Ledger("redis://127.0.0.1:1/0"), Spool(tmp_path / "x", 1 << 20, 1 << 16))


def endpoints(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    for route in routes:
        assert not isinstance(route, Mount), "nothing is mounted: it would escape this inventory"
        if isinstance(route, Route) or hasattr(route, "methods"):
            for method in route.methods or ():
                yield method, route.path


def test_every_route_is_in_the_inventory_and_in_the_document(app: FastAPI) -> None:
    found = set(endpoints(app.routes))
    pages = {(method, path) for method, path in found if path in PAGES or path == STATIC}
    assert {method for method, _ in pages} <= {"GET", "HEAD"}
    assert found - pages == set(INVENTORY)
    document = app.openapi()
    documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert documented == set(INVENTORY)


def test_the_document_names_the_roles_of_every_route(app: FastAPI) -> None:
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            roles = INVENTORY[method.upper(), path]
            assert set(operation.get("x-roles", [])) == set(roles), (method, path)
            assert ("security" in operation) == bool(roles)


def test_every_operation_says_what_it_does_and_how_it_refuses(app: FastAPI) -> None:
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            assert operation["tags"], (method, path)
            assert operation.get("description"), (method, path)
            assert {"400", "405", "503"} <= set(operation["responses"])
            assert "422" not in operation["responses"]
            if INVENTORY[method.upper(), path]:
                assert {"401", "403", "429"} <= set(operation["responses"])
            if "requestBody" in operation:
                assert {"413", "415"} <= set(operation["responses"])


def test_references_lead_somewhere_and_patterns_are_portable(app: FastAPI) -> None:
    document = app.openapi()

    def walk(part: Any) -> Iterator[tuple[str, str]]:
        if isinstance(part, dict):
            for name, each in part.items():
                if name in ("$ref", "pattern") and isinstance(each, str):
                    yield name, each
                yield from walk(each)
        elif isinstance(part, list):
            for each in part:
                yield from walk(each)

    seen = list(walk(document))
    assert {name for name, _ in seen} == {"$ref", "pattern"}
    for name, value in seen:
        if name == "pattern":
            assert "\\Z" not in value
            jsonschema_rs.validator_for({"type": "string", "pattern": value})
        else:
            target: Any = document
            for step in value.removeprefix("#/").split("/"):
                target = target[step]
            assert target


def test_without_the_reference_there_is_neither_document_nor_page(tmp_path: Path) -> None:
    settings = ServeSettings.load(engine="none", artifact_root=tmp_path, spool_root=tmp_path, api_reference=False)
    app = make_app(settings, Ledger("redis://127.0.0.1:1/0"), Spool(tmp_path / "x", 1 << 20, 1 << 16))
    assert not {"/docs", "/openapi.json"} & {path for _, path in endpoints(app.routes)}


def test_a_required_metrics_key_is_in_the_document(tmp_path: Path) -> None:
    settings = ServeSettings.load(engine="none", artifact_root=tmp_path, spool_root=tmp_path, metrics_key_required=True)
    app = make_app(settings, Ledger("redis://127.0.0.1:1/0"), Spool(tmp_path / "x", 1 << 20, 1 << 16))
    assert openapi.document(app, settings)["paths"]["/metrics"]["get"]["x-roles"] == ["metrics", "operator"]


@pytest.fixture
def site(ledger: Ledger, tmp_path: Path) -> Iterator[Served]:
    with served(ledger, tmp_path, wrong_keys_per_minute=10_000) as found:
        yield found


def filled(path: str) -> str:
    for name, value in FILLED.items():
        path = path.replace(name, value)
    return path.replace("{id}", "0" * (32 if "battles" in path else 22))


@pytest.mark.redis
def test_every_route_lets_in_whom_the_inventory_names_and_nobody_else(ledger: Ledger, site: Served) -> None:
    callers: dict[str, str] = {**site.keys, "anonymous": ""}
    for name, changes in (("expired", {"expires_at": utc_now() + timedelta(seconds=0.01)}), ("revoked", {})):
        callers[name], key = access.create(ledger, "operator", name, **changes)
    access.revoke(ledger, key.id)
    time.sleep(0.02)
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    wrong = []
    for (method, path), roles in INVENTORY.items():
        if (method, path) == ("DELETE", "/v1/sessions"):
            continue  # by bearer key it is allowed and does nothing; the sessions' own tests have it
        for caller, secret in callers.items():
            body = b"{}" if method in ("POST", "PATCH") else None
            headers = {"Content-Type": "application/json"} if body else {}
            if secret:
                headers["Authorization"] = f"Bearer {secret}"
            connection.request(method, filled(path), body, headers)
            answer = connection.getresponse()
            text = answer.read()
            expected = 0 if not roles or caller in roles else 403 if caller in access.ROLES else 401
            if (method, path) == ("GET", "/v1/sessions"):
                expected = expected or 401  # asks for a cookie
            if (expected and answer.status != expected) or (not expected and answer.status in (401, 403)):
                wrong.append((method, path, caller, answer.status, expected))
            if answer.status >= 400:
                assert set(json.loads(text)) == {"error"}, (method, path, caller)
            assert answer.status < 500 or answer.status == 503, (method, path, caller)
    connection.close()
    assert wrong == []


@pytest.mark.redis
def test_a_body_is_required_where_the_document_says_so(site: Served) -> None:
    seen = set()
    for path, methods in site.app.openapi()["paths"].items():
        for method, operation in methods.items():
            if "requestBody" not in operation:
                continue
            key = site.keys.get(next(iter(INVENTORY[method.upper(), path]), ""), "")
            reply = site.ask(method.upper(), filled(path), key=key)
            required = operation["requestBody"]["required"]
            assert (reply.status == 400) == required, (method, path, reply)
            seen.add(required)
    assert seen == {True, False}
