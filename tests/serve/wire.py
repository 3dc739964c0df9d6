"""Applications behind a real socket, and callers that speak raw HTTP."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import uvicorn

from tests.conftest import free_port


class Reply(NamedTuple):
    """What came back; status 0 if the connection was closed without a word."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error object of our envelope."""
        found = json.loads(self.body)
        assert set(found) == {"error"}, found
        assert {"message", "type", "param", "code"} <= set(found["error"])
        return dict(found["error"])

    def refusal(self, *statuses: int) -> dict[str, Any]:
        """Return the error of a refusal that has one of the statuses, an id, and nothing of our insides."""
        assert self.status in statuses, self
        assert self.headers["x-request-id"]
        assert self.status != 401 or self.headers["www-authenticate"] == "Bearer"
        error = self.error
        for leak in ("Traceback", " at 0x", ".py", "File "):
            assert leak not in error["message"]
        return error


def listen(connection: socket.socket, method: str = "GET") -> Reply:
    """Read one answer to a request of this method."""
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        body = response.read()
    except (http.client.BadStatusLine, ConnectionError):
        return Reply(0, {}, b"")
    return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


class Server:
    """An ASGI application behind uvicorn in a thread."""

    def __init__(self, app: Any, **config: Any) -> None:
        self.port = free_port()
        self._server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="critical", **config))
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        until = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < until, "uvicorn did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    @contextmanager
    def connect(self, timeout_s: float = 20.0) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            yield connection

    def raw(self, text: bytes) -> Reply:
        """Send bytes as they are and read one answer."""
        with self.connect() as connection:
            connection.sendall(text)
            return listen(connection, text.partition(b" ")[0].decode("latin-1"))

    def ask(self, method: str, target: str, body: bytes | Any = None, key: str = "", **headers: str | None) -> Reply:
        """Send one request; a body that is not bytes goes as JSON, a header that is None is left out.

        Args:
            method: as it goes on the wire.
            target: path and query, as they go on the wire.
            body: of the request.
            key: bearer key.
            headers: more headers; ``_`` stands for ``-``.
        """
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent: dict[str, str | None] = {"host": f"127.0.0.1:{self.port}", "connection": "close"}
        if content is not None:
            sent |= {"content-type": "application/json", "content-length": str(len(content))}
        if key:
            sent["authorization"] = f"Bearer {key}"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {text}" for name, text in sent.items() if text is not None)]
        return self.raw("\r\n".join([*lines, "", ""]).encode("latin-1") + (content or b""))


def closed_within(connection: socket.socket, seconds: float) -> bool:
    """Tell whether the server ends a connection in time; what it says first is dropped."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True
