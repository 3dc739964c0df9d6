"""What surrounds every request: its id, the size of its body, its metrics.

Pure ASGI; never holds a byte of an answer back.
"""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from feedback import metrics
from feedback.ids import new_id
from serve.errors import InvalidRequest


class Surround:
    """Gives each request an id (header ``X-Request-Id`` of the answer), bounds its body, counts and times it."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = new_id("req")
        answer = _Answer(scope, send)
        try:
            await self._app(scope, self._bounded(receive), answer.send)
        finally:
            answer.count()

    def _bounded(self, receive: Receive) -> Receive:
        seen_bytes = 0

        async def receive_bounded() -> Message:
            nonlocal seen_bytes
            message = await receive()
            seen_bytes += len(message.get("body", b""))
            if seen_bytes > self._max_body_bytes:
                raise InvalidRequest(
                    f"the body is larger than {self._max_body_bytes} bytes", code="body_too_large", status=413
                )
            return message

        return receive_bounded


class _Answer:
    """One answer on its way out."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._started = time.perf_counter()
        self._status = 0
        self._first_byte_s = 0.0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            request_id = self._scope["state"]["request_id"].encode()
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
        elif not self._first_byte_s and message.get("body"):
            self._first_byte_s = time.perf_counter() - self._started
        await self._send(message)

    def count(self) -> None:
        route = _route_of(self._scope)
        version = self._scope["state"].get("version", "")
        metrics.requests_total.labels(route, str(self._status), version).inc()
        metrics.request_seconds.labels(route).observe(time.perf_counter() - self._started)
        if self._first_byte_s:
            metrics.first_byte_seconds.labels(route).observe(self._first_byte_s)


def _route_of(scope: Scope) -> str:
    """Return the route's template; never a path that a caller made up, which would be an unbounded label."""
    route = scope.get("route") or scope["state"].get("route")
    return route if isinstance(route, str) else getattr(route, "path", "other")
