"""HTTP on the wire: deadlines and bounds that hold before there is a request to speak of.

A subclass of uvicorn's httptools protocol. Knows connections, bytes and clocks; what a head may say is the business of
`serve.door.heads`. Every refusal here closes the connection and has the API's error envelope.
"""

import asyncio
import json
import urllib.parse
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from feedback import metrics
from feedback.ids import new_id
from serve.errors import envelope
from serve.settings import ServeSettings

MAX_HEAD_BYTES = 16 << 10
MAX_HEADERS = 100
MAX_TARGET_BYTES = 12 << 10
"""Path and query; the query's own bound is `serve.door.heads`', in an answer that says so."""
LINGER_S = 2.0
"""After an early answer, how long the rest of a body may still come in before the connection is closed: closing at
once would make some clients miss the answer."""


def options(settings: ServeSettings) -> dict[str, Any]:
    """Return what `uvicorn.Config` needs so that connections keep to the settings."""
    return {
        "http": make_protocol(settings.head_timeout_s, settings.max_connections),
        "ws": "none",
        "timeout_keep_alive": settings.idle_timeout_s,
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": settings.trusted_proxies or None,
        "server_header": False,
    }


class Refused(Exception):
    """Raised inside the parser, whose callbacks have no other way to stop it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    head_timeout_s = 15.0
    max_connections = 800
    idle: dict["GuardedProtocol", None]
    """Connections without a request, the one that has been idle longest first; shared by all of a server."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, at the cost of the one that has been idle longest if there are too many."""
        super().connection_made(transport)
        self._head_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = False
        self._deaf = False
        if len(self.connections) > self.max_connections:
            oldest = next(iter(self.idle), None)
            if oldest is None:
                self._refuse(Refused(503, "too_many_connections", "too many connections; try again in a moment"))
                return
            oldest.close_idle()
        self.idle[self] = None
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its clocks."""
        super().connection_lost(exc)
        self.idle.pop(self, None)
        self._stop_head_timer()
        self._stop_lingering()

    def close_idle(self) -> None:
        """End a connection that has no request."""
        self.idle.pop(self, None)
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; refuse what it cannot read."""
        if self._deaf or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        was_in_head = self._in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # not taken up: the request is answered as it is, and is the last one
            self._deaf = True
            self.cycle.keep_alive = False
        except httptools.HttpParserInvalidMethodError:
            self._refuse(Refused(405, "method_not_allowed", "no such method"))
        except httptools.HttpParserError as error:
            cause = error.__context__
            known = (
                cause if isinstance(cause, Refused) else Refused(400, "malformed_request", "this is no HTTP request")
            )
            self._refuse(known)
        else:
            if was_in_head and self._in_head:  # the parser holds a header that does not end
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES:
                    self._refuse(too_large())
            if self._in_head or self in self.idle:
                self._watch_head()

    # Parser callbacks

    def on_message_begin(self) -> None:
        """Begin a request's head."""
        super().on_message_begin()
        self.idle.pop(self, None)
        self._in_head = True
        self._head_bytes = 0
        self._counted = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        super().on_url(url)
        if len(self.url) > MAX_TARGET_BYTES:
            raise Refused(414, "target_too_long", f"path and query are longer than {MAX_TARGET_BYTES} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, up to a number and a size."""
        super().on_header(name, value)
        self._counted += len(name) + len(value) + 4
        if len(self.headers) > MAX_HEADERS or self._counted > MAX_HEAD_BYTES:
            raise too_large()

    def on_headers_complete(self) -> None:
        """Hand a request to the application."""
        self._in_head = False
        self._stop_head_timer()
        if self.parser.get_method() == b"CONNECT":
            raise Refused(405, "method_not_allowed", "this is no proxy")
        if b"%" in self.url:
            try:
                urllib.parse.unquote(self.url.decode("ascii"), errors="strict")
            except UnicodeDecodeError as error:
                raise Refused(400, "malformed_path", "path and query are not percent-encoded UTF-8") from error
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the request is in."""
        self._stop_lingering()
        super().on_message_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._rest()

    def on_response_complete(self) -> None:
        """Begin to idle, or to wait a little for the rest of a body that nobody wants any more."""
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self.cycle.response_complete and self.cycle.more_body:
            self._unset_keepalive_if_required()
            self._linger_timer = self.loop.call_later(LINGER_S, self.transport.close)
        elif self.cycle.response_complete:
            self._rest()

    def _rest(self) -> None:
        self.idle.pop(self, None)
        self.idle[self] = None
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    # Clocks

    def _watch_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_timeout_s, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._refuse(Refused(408, "request_timeout", "the head of the request did not arrive in time"))
        elif not self.transport.is_closing():
            self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_lingering(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None

    def _refuse(self, refused: Refused) -> None:
        """Answer and close; nothing more is read from this connection."""
        self._deaf = True
        self._stop_head_timer()
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        metrics.requests_total.labels("refused", str(refused.status), "").inc()
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # an earlier answer is on its way on this connection; only its end can be cut
            return
        self.transport.write(as_bytes(refused))
        if refused.status == 503 or not self.transport.can_write_eof():
            self.transport.close()
            return
        # what still comes is dropped for a while: closing now would tear the answer away from a client that is sending
        self.flow.resume_reading()
        self.transport.write_eof()
        self._linger_timer = self.loop.call_later(LINGER_S, self.transport.close)


def too_large() -> Refused:
    """Return the refusal of a head that is too large."""
    return Refused(431, "head_too_large", f"the head has more than {MAX_HEADERS} headers or {MAX_HEAD_BYTES} bytes")


def make_protocol(head_timeout_s: float, max_connections: int) -> type[GuardedProtocol]:
    """Return a protocol class for one server, with its bounds and its own list of idle connections."""
    bounds = {"head_timeout_s": head_timeout_s, "max_connections": max_connections, "idle": {}}
    return type("Protocol", (GuardedProtocol,), bounds)


def as_bytes(refused: Refused) -> bytes:
    """Return a refusal as the bytes of a whole answer."""
    kind = "unavailable_error" if refused.status == 503 else "invalid_request_error"
    body = json.dumps(envelope(str(refused), kind, refused.code)).encode()
    lines = [
        f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"X-Request-Id: {new_id('req')}",
        "Connection: close",
        *(["Retry-After: 1"] if refused.status == 503 else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
