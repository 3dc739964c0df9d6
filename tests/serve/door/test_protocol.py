"""Connections by raw sockets: what is cut, what is refused, and that everybody else is served meanwhile."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from serve.door.protocol import (
    LINGER_S,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_TARGET_BYTES,
    Refused,
    as_bytes,
    make_protocol,
    options,
)
from serve.settings import ServeSettings
from tests.serve.wire import Reply, Server, closed_within, listen

HEAD_S = 0.5
MOST = 20
LIMIT = 100


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Say what was asked; ``/early`` answers before the body is in, ``/slow`` takes a moment."""
    if scope["type"] != "http":
        return
    size = 0
    while scope["path"] != "/early":
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    if scope["path"] == "/slow":
        await asyncio.sleep(3 * HEAD_S)
    said = json.dumps({"path": scope["path"], "query": scope["query_string"].decode(), "size": size}).encode()
    headers = [(b"content-length", str(len(said)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = Server(app, http=make_protocol(HEAD_S, MOST), ws="none", timeout_keep_alive=1, lifespan="off")
    found.start()
    yield found
    found.stop()


def get(target: str = "/", *headers: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: here", *headers, "", ""]).encode()


def code(reply: Reply) -> tuple[int, Any]:
    assert reply.headers["connection"] == "close"
    assert reply.headers["x-request-id"].startswith("req_")
    return reply.status, reply.error["code"]


def test_requests_follow_each_other_on_one_connection(server: Server) -> None:
    with server.connect() as connection:
        for path in ("/one", "/two"):
            connection.sendall(get(path))
            assert json.loads(listen(connection).body)["path"] == path


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(get("/one") + get("/two") + get("/three"))
        said = b""
        while said.count(b'"path"') < 3:
            said += connection.recv(65_536)
        assert said.index(b"/one") < said.index(b"/two") < said.index(b"/three")


def test_a_head_that_comes_byte_by_byte_is_cut_and_told_so(server: Server) -> None:
    with server.connect() as connection:
        began = time.monotonic()
        for byte in b"GET / HTTP/1.1\r\nHost: here\r\nX-Slow: ":
            if time.monotonic() - began > 4 * HEAD_S:
                break
            try:
                connection.sendall(bytes([byte]))
            except ConnectionError:
                break
            time.sleep(HEAD_S / 10)
        assert code(listen(connection)) == (408, "request_timeout")
        assert HEAD_S * 0.9 < time.monotonic() - began < 6 * HEAD_S


def test_a_connection_that_says_nothing_or_only_line_ends_is_closed(server: Server) -> None:
    with server.connect() as silent, server.connect() as stray:
        stray.sendall(get())
        listen(stray)
        stray.sendall(b"\r\n")
        assert closed_within(silent, 4 * HEAD_S)
        assert closed_within(stray, 4 * HEAD_S)


def test_a_connection_without_a_new_request_is_closed(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(get())
        listen(connection)
        assert closed_within(connection, 5)


def test_a_slow_answer_is_not_cut(server: Server) -> None:
    assert json.loads(server.raw(get("/slow", "Connection: close")).body)["path"] == "/slow"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (get("/", "X-Big: " + "x" * MAX_HEAD_BYTES), (431, "head_too_large")),
        (get("/", *[f"X-{number}: y" for number in range(MAX_HEADERS)]), (431, "head_too_large")),
        (get("/", *["X: " + "y" * 1000 for _ in range(17)]), (431, "head_too_large")),
        (get("/" + "x" * MAX_TARGET_BYTES), (414, "target_too_long")),
        (b"FLY / HTTP/1.1\r\nHost: here\r\n\r\n", (405, "method_not_allowed")),
        (b"CONNECT here:80 HTTP/1.1\r\nHost: here\r\n\r\n", (405, "method_not_allowed")),
        (get("/%ff"), (400, "malformed_path")),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: here\r\n\r\n", (400, "malformed_request")),
        (b"GET / HTTP/1.1\r\nHost here\r\n\r\n", (400, "malformed_request")),
        (b"GET / HTTP/1.1\r\nHost: here\r\n folded: yes\r\n\r\n", (400, "malformed_request")),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client says hello", (400, "malformed_request")),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, "malformed_request")),
    ],
)
def test_a_head_that_no_server_should_read_is_refused_in_our_envelope(
    server: Server, head: bytes, expected: tuple[int, str]
) -> None:
    reply = server.raw(head)
    if head.startswith(b"\x16"):  # what the parser takes this for is its own business
        assert reply.status in (400, 405)
    else:
        assert code(reply) == expected


def test_as_many_headers_as_are_allowed_pass(server: Server) -> None:
    headers = [f"X-{number}: y" for number in range(MAX_HEADERS - 2)]
    assert server.raw(get("/", "Connection: close", *headers)).status == 200


def test_a_header_without_an_end_is_refused_before_the_end(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Endless: ")
        for _ in range(80):
            try:
                connection.sendall(b"x" * 1024)
            except ConnectionError:
                break
            time.sleep(0.002)
        assert code(listen(connection)) == (431, "head_too_large")


def test_an_upgrade_is_not_taken_up_and_the_request_answered(server: Server) -> None:
    for protocol in ("h2c", "websocket"):
        with server.connect() as connection:
            connection.sendall(get("/plain", "Connection: Upgrade", f"Upgrade: {protocol}"))
            assert json.loads(listen(connection).body)["path"] == "/plain"
            connection.sendall(b"\x81\x05hello" * 10)
            assert closed_within(connection, 3)


def test_an_early_answer_is_read_even_while_the_body_still_comes(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /early HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000000\r\n\r\n")
        connection.sendall(b"x" * 100_000)
        assert listen(connection).status == 200
        began = time.monotonic()
        with pytest.raises(ConnectionError):  # noqa: PT012 - which of the two sends fails depends on the kernel
            while time.monotonic() - began < LINGER_S + 5:
                connection.sendall(b"x" * 1000)
                time.sleep(0.05)
        assert time.monotonic() - began < LINGER_S + 3


def test_after_an_early_answer_a_body_that_ends_leaves_the_connection_usable(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /early HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\n12345")
        assert listen(connection).status == 200
        connection.sendall(b"67890" + get("/next"))
        assert json.loads(listen(connection).body)["path"] == "/next"


def test_the_longest_idle_connection_makes_room_for_a_new_one(server: Server) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(MOST)]
        assert server.raw(get("/", "Connection: close")).status == 200
        assert closed_within(idle[0], 2)
        idle[-1].sendall(get("/still"))
        assert json.loads(listen(idle[-1]).body)["path"] == "/still"


def test_where_all_connections_work_a_new_one_is_told_to_come_back(server: Server) -> None:
    with ExitStack() as stack:
        working = [stack.enter_context(server.connect()) for _ in range(MOST)]
        for connection in working:
            connection.sendall(get("/slow", "Connection: close"))
        with server.connect() as probe:
            refused = listen(probe)
        assert refused.status == 503
        assert refused.error["code"] == "too_many_connections"
        assert refused.headers["retry-after"] == "1"
        assert {listen(connection).status for connection in working} == {200}


def test_a_refusal_is_a_whole_answer() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(as_bytes(Refused(431, "head_too_large", "too large")))
        ours.shutdown(socket.SHUT_WR)
        reply = listen(theirs)
    assert (reply.status, reply.error["message"]) == (431, "too large")


def test_settings_become_options_and_no_proxy_is_believed_by_default() -> None:
    plain = options(ServeSettings.load(head_timeout_s=12, max_connections=7, idle_timeout_s=9))
    assert (plain["http"].head_timeout_s, plain["http"].max_connections) == (12, 7)
    assert (plain["timeout_keep_alive"], plain["proxy_headers"], plain["ws"]) == (9, False, "none")
    trusting = options(ServeSettings.load(trusted_proxies="10.0.0.1"))
    assert (trusting["proxy_headers"], trusting["forwarded_allow_ips"]) == (True, "10.0.0.1")
