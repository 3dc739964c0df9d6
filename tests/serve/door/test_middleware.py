import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from feedback import metrics
from serve import errors
from serve.door.middleware import Surround

LIMIT = 100


def make_app() -> FastAPI:
    """Return an application with one route, surrounded."""
    app = FastAPI()
    errors.install(app)
    app.add_middleware(Surround, max_body_bytes=LIMIT)

    @app.post("/echo/{name}")
    async def echo(name: str, request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    return app


def ask(app: Any, method: str, path: str, content: bytes = b"") -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.request(method, path, content=content)

    return asyncio.run(send())


@pytest.mark.parametrize("path", ["/echo/x", "/nowhere"])
def test_every_answer_carries_a_request_id_of_its_own(path: str) -> None:
    app = make_app()
    ids = {ask(app, "POST", path).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2


def test_a_body_up_to_the_limit_passes_and_a_larger_one_does_not() -> None:
    app = make_app()
    assert ask(app, "POST", "/echo/x", b"x" * LIMIT).json() == {"bytes": LIMIT}
    refused = ask(app, "POST", "/echo/x", b"x" * (LIMIT + 1))
    assert refused.status_code == 413
    assert refused.json()["error"]["code"] == "body_too_large"


def count(route: str, status: str) -> float:
    labels = {"route": route, "status": status, "version": ""}
    return metrics.REGISTRY.get_sample_value("whetstone_requests_total", labels) or 0.0


def test_requests_are_counted_by_template_never_by_path() -> None:
    app = make_app()
    before = count("/echo/{name}", "200"), count("other", "404")
    ask(app, "POST", "/echo/one")
    ask(app, "POST", "/echo/two")
    ask(app, "GET", "/made/up/by/a/stranger")
    assert (count("/echo/{name}", "200"), count("other", "404")) == (before[0] + 2, before[1] + 1)


def test_chunks_go_through_one_by_one() -> None:
    sent: list[Any] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for chunk in (b"a", b"b"):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            assert sent[-1]["body"] == chunk
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def outer(message: Any) -> None:
        sent.append(message)

    async def nothing() -> Any:
        return {"type": "http.request", "body": b""}

    head = {"method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", b"here")]}
    asyncio.run(Surround(inner, LIMIT)({"type": "http", **head}, nothing, outer))
    assert [message["type"] for message in sent] == ["http.response.start"] + ["http.response.body"] * 3


def test_a_head_that_breaks_the_rules_is_refused_before_the_application_sees_it() -> None:
    seen: list[Scope] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    refused = ask(Surround(inner, LIMIT, allowed_hosts="there"), "POST", "/echo/x")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unknown_host")
    assert refused.headers["x-request-id"].startswith("req_")
    assert seen == []


def test_the_callers_request_id_is_not_taken() -> None:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app()), base_url="http://here") as client:
            return await client.post("/echo/x", headers={"X-Request-Id": "tcp://host:1"})

    found = asyncio.run(send()).headers.get_list("x-request-id")
    assert len(found) == 1
    assert found[0].startswith("req_")


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def never() -> Any:
        await asyncio.Event().wait()

    sent: list[Any] = []

    async def outer(message: Any) -> None:
        sent.append(message)

    head = {"method": "POST", "path": "/echo/x", "query_string": b"", "headers": [(b"host", b"here")]}
    scope = {"type": "http", "http_version": "1.1", "scheme": "http", "client": ("10.0.0.1", 1), **head}
    app = FastAPI()
    errors.install(app)

    @app.post("/echo/{name}")
    async def echo(name: str, request: Request) -> int:
        return len(await request.body())

    asyncio.run(Surround(app, LIMIT, body_timeout_s=0.05)(scope, never, outer))
    assert sent[0]["status"] == 408
    assert b"request_timeout" in sent[1]["body"]


class Address:
    """An application that knows one key, asked from one address."""

    def __init__(self, per_minute: int) -> None:
        self.app = Surround(self.inner, LIMIT, wrong_keys_per_minute=per_minute)

    async def inner(self, scope: Scope, receive: Receive, send: Send) -> None:
        right = (b"authorization", b"Bearer right") in scope["headers"]
        await JSONResponse({}, 200 if right else 401)(scope, receive, send)

    def status(self, address: str = "10.0.0.1", **headers: str) -> tuple[int, str]:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(address, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.get("/v1/models", headers=headers)

        answer = asyncio.run(send())
        return answer.status_code, answer.headers.get("retry-after", "")


def test_wrong_keys_from_one_address_are_told_to_wait_and_a_right_one_is_let_in() -> None:
    server = Address(per_minute=3)
    wrong = [server.status(authorization="Bearer wrong") for _ in range(5)]
    assert wrong == [(401, "")] * 3 + [(429, "60")] * 2
    assert server.status(authorization="Bearer right") == (200, "")
    assert server.status("10.0.0.2", authorization="Bearer wrong") == (401, "")


def test_an_address_that_a_header_claims_counts_for_nothing() -> None:
    server = Address(per_minute=3)
    headers = {"authorization": "Bearer wrong"}
    found = [server.status(**headers, **{"x-forwarded-for": f"10.1.1.{number}"})[0] for number in range(5)]
    assert found == [401, 401, 401, 429, 429]


def test_a_request_without_any_key_is_no_attempt() -> None:
    server = Address(per_minute=1)
    assert [server.status()[0] for _ in range(4)] == [401] * 4
