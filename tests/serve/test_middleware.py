import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.types import Receive, Scope, Send

from feedback import metrics
from serve import errors
from serve.middleware import Surround

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

    asyncio.run(Surround(inner, LIMIT)({"type": "http"}, nothing, outer))
    assert [message["type"] for message in sent] == ["http.response.start"] + ["http.response.body"] * 3
