"""Lean routes: like any other from outside, in one thread, and only for what they can do."""

import threading
from typing import Annotated, Any

import msgspec
import pytest
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.testclient import TestClient

from feedback import access
from feedback.client import Ledger
from feedback.records import ApiKey
from serve import errors
from serve.asking.schemas import Body, ItemId, body, described
from serve.door.auth import require
from serve.door.keycache import KeyCache
from serve.door.lean import POOL, Lean

pytestmark = pytest.mark.redis


class WordIn(Body, frozen=True, kw_only=True):
    word: str


@pytest.fixture
def client(ledger: Ledger) -> TestClient:
    """The same route twice, lean and as FastAPI makes it."""
    app = FastAPI()
    errors.install(app)
    keys = KeyCache(ledger, ttl_s=0)
    for prefix, kind in (("/lean", Lean), ("/plain", None)):
        router = APIRouter(prefix=prefix, **({"route_class": kind} if kind else {}))

        @router.post("/items/{item_id}", openapi_extra=described(WordIn), response_model=None)
        def say(
            item_id: ItemId,
            key: Annotated[ApiKey, Depends(require(keys, "labeler"))],
            given: Annotated[WordIn, Depends(body(WordIn))],
        ) -> dict[str, Any] | Response:
            """Say what was heard."""
            if given.word == "nothing":
                return Response(status_code=204)
            if given.word == "thread":
                return {"thread": threading.current_thread().name}
            return {"item": item_id, "owner": key.owner, "word": given.word}

        app.include_router(router)
    secret, _ = access.create(ledger, "labeler", "lee")
    customer, _ = access.create(ledger, "client", "acme")
    found = TestClient(app, raise_server_exceptions=False)
    found.headers["Authorization"] = f"Bearer {secret}"
    found.secrets = (secret, customer)  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    ("path", "raw", "headers", "status"),
    [
        ("/items/cmp_1", b'{"word":"hello"}', {}, 200),
        ("/items/cmp_1", b'{"word":"nothing"}', {}, 204),
        ("/items/cmp_1", b'{"word":1}', {}, 400),
        ("/items/cmp_1", b'{"word":"a","more":1}', {}, 400),
        ("/items/cmp_1", b"{", {}, 400),
        ("/items/cmp_1", b'{"word":"a"}', {"Content-Type": "text/plain"}, 415),
        ("/items/a%20b", b'{"word":"a"}', {}, 400),
        ("/items/" + "a" * 101, b'{"word":"a"}', {}, 400),
        ("/items/cmp_1", b'{"word":"a"}', {"Authorization": "Bearer nonsense"}, 401),
    ],
)
def test_it_answers_byte_for_byte_like_any_other_route(
    client: TestClient, path: str, raw: bytes, headers: dict[str, str], status: int
) -> None:
    headers = {"Content-Type": "application/json", **headers}
    lean, plain = (client.post(prefix + path, content=raw, headers=headers) for prefix in ("/lean", "/plain"))
    assert (lean.status_code, plain.status_code) == (status, status)
    assert lean.content == plain.content
    assert lean.headers.get("content-type") == plain.headers.get("content-type")
    assert lean.headers.get("www-authenticate") == plain.headers.get("www-authenticate")


def test_another_role_is_refused_before_the_body_is_looked_at(client: TestClient) -> None:
    _, customer = client.secrets  # type: ignore[attr-defined]
    headers = {"Authorization": f"Bearer {customer}", "Content-Type": "application/json"}
    assert client.post("/lean/items/cmp_1", content=b"{", headers=headers).status_code == 403


def test_the_function_runs_beside_the_event_loop(client: TestClient) -> None:
    found = client.post("/lean/items/cmp_1", json={"word": "thread"}).json()["thread"]
    assert found.startswith(POOL._thread_name_prefix)


def test_the_document_shows_both_alike(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    paths = app.openapi()["paths"]
    lean, plain = (msgspec.json.encode(paths[f"{prefix}/items/{{item_id}}"]) for prefix in ("/lean", "/plain"))
    assert lean.replace(b"lean", b"plain") == plain.replace(b"lean", b"plain")


def test_a_route_that_asks_for_more_is_refused_when_it_is_made(ledger: Ledger) -> None:
    router = APIRouter(route_class=Lean)
    with pytest.raises(TypeError, match="asks for more"):

        @router.get("/a")
        def with_query(limit: Annotated[int, Query()]) -> dict[str, int]:
            """Ask for a query."""
            return {"limit": limit}

    with pytest.raises(TypeError, match="asks for more"):

        @router.get("/b")
        def with_request(request: Request) -> dict[str, str]:
            """Ask for the request."""
            return {}

    def blocking() -> int:
        return 1

    with pytest.raises(TypeError, match="blocks"):

        @router.get("/c")
        def with_blocking(number: Annotated[int, Depends(blocking)]) -> dict[str, int]:
            """Ask for what blocks."""
            return {"number": number}
