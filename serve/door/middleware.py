"""What surrounds every request: its id, the rules for its head, the size of its body, its metrics.

Pure ASGI; never holds a byte of an answer back. Answers that say a key is wrong are counted by address, and beyond a
number a minute they become answers that say to wait: a right key from the same address never notices.
"""

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from feedback import metrics
from feedback.errors import RateLimited
from feedback.ids import new_id
from serve.door import sessions
from serve.door.heads import JSON_PREFIX, names, refusal, too_large
from serve.door.throttle import Throttle
from serve.errors import InvalidRequest, to_response


class Surround:
    """Gives each request an id (header ``X-Request-Id`` of the answer), bounds its body, counts and times it."""

    def __init__(
        self,
        app: ASGIApp,
        max_body_bytes: int,
        *,
        allowed_hosts: str = "",
        wrong_keys_per_minute: int = 60,
        body_timeout_s: float = 60.0,
    ) -> None:
        """Surround an application.

        Args:
            app: what is surrounded.
            max_body_bytes: largest body that is read.
            allowed_hosts: names that the header Host may have, separated by commas; empty for any.
            wrong_keys_per_minute: wrong keys that one address may try; beyond, it is told to wait.
            body_timeout_s: seconds from the head until a body has to be complete.
        """
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._allowed_hosts = names(allowed_hosts)
        self._throttle = Throttle(wrong_keys_per_minute)
        self._body_timeout_s = body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["request_id"] = new_id("req")  # whatever id the caller sent
        answer = _Answer(scope, send, self._throttle)
        refused = refusal(scope, self._max_body_bytes, self._allowed_hosts)
        try:
            if refused is not None:
                await to_response(refused)(scope, receive, answer.send)
            else:
                await self._app(scope, self._bounded(receive), answer.send)
        finally:
            answer.count()

    def _bounded(self, receive: Receive) -> Receive:
        seen_bytes = 0
        complete = False
        deadline_s = time.monotonic() + self._body_timeout_s

        async def receive_bounded() -> Message:
            nonlocal seen_bytes, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout(deadline_s - time.monotonic()):
                    message = await receive()
            except TimeoutError as error:
                raise InvalidRequest("the body did not arrive in time", None, "request_timeout", 408) from error
            seen_bytes += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if seen_bytes > self._max_body_bytes:
                raise too_large(self._max_body_bytes)
            return message

        return receive_bounded


class _Answer:
    """One answer on its way out."""

    def __init__(self, scope: Scope, send: Send, throttle: Throttle) -> None:
        self._scope = scope
        self._send = send
        self._throttle = throttle
        self._started = time.perf_counter()
        self._status = 0
        self._first_byte_s = 0.0
        self._replaced = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            wait_s = self._throttle.count(_address(self._scope)) if self._wrong_key(message["status"]) else 0.0
            if wait_s:
                self._replaced = True
                await to_response(RateLimited("too many wrong keys from your address", wait_s))(
                    self._scope, _nothing, self._pass
                )
                return
        elif self._first_byte_s and not self._replaced:  # most messages of a stream
            await self._send(message)
            return
        if not self._replaced:
            await self._pass(message)

    async def _pass(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            request_id = self._scope["state"]["request_id"].encode()
            added = [(b"x-request-id", request_id)]
            if self._scope["path"].startswith(JSON_PREFIX):
                added.append((b"x-content-type-options", b"nosniff"))  # hostile text in JSON is never taken for a page
            message["headers"] = [*message.get("headers", ()), *added]
        elif not self._first_byte_s and message.get("body"):
            self._first_byte_s = time.perf_counter() - self._started
        await self._send(message)

    def _wrong_key(self, status: int) -> bool:
        """Tell whether the answer refuses a key that was shown; a request without any is no attempt."""
        if status != 401:
            return False
        signing_in = self._scope["path"] == sessions.PATH and self._scope["method"] == "POST"
        headers = Headers(scope=self._scope)
        return signing_in or "authorization" in headers or sessions.from_cookie(headers) is not None

    def count(self) -> None:
        route = _route_of(self._scope)
        state = self._scope["state"]
        version, status = state.get("version", ""), state.get("status", self._status)
        metrics.requests_total.labels(route, str(status), version).inc()
        metrics.request_seconds.labels(route).observe(time.perf_counter() - self._started)
        if self._first_byte_s:
            metrics.first_byte_seconds.labels(route).observe(self._first_byte_s)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _address(scope: Scope) -> str:
    """Return the peer's address as the connection has it; no header is believed."""
    client = scope.get("client")
    return client[0] if client else ""


def _route_of(scope: Scope) -> str:
    """Return the route's template; never a path that a caller made up, which would be an unbounded label."""
    route = scope.get("route") or scope["state"].get("route")
    return route if isinstance(route, str) else getattr(route, "path", "other")
