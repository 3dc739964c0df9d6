"""The bad-input catalogue, rows 65 to 69: callers who leave, flood, repeat themselves or are in a hurry."""

import asyncio
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.serve.catalogue.caller import Caller, gauge
from tests.serve.catalogue.hostile import CHAT, Case, values
from tests.serve.conftest import MAX_TOKENS, Server

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


@pytest.fixture(scope="module")
def caller(server: Server) -> Iterator[Caller]:
    found = Caller(server, "catalogue")
    with found.http:
        yield found


def test_row_65_who_leaves_frees_the_engine(server: Server, caller: Caller) -> None:
    body = Case(65, CHAT, {"stream": True, "max_tokens": MAX_TOKENS, "n": 9, "logit_bias": {"2": -100}}).body()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {caller.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()

    def left() -> float:
        return gauge(server, "whetstone_requests_total{", '"499"')

    before = left()
    for sent, wait_for_answer in ((head, False), (head + body[:20], False), (head + body, True)):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(sent)
            if wait_for_answer:
                assert connection.recv(64).startswith(b"HTTP/1.1 200")
    server.wait(lambda: all(slot["in_flight"] == 0 for slot in server.slots()), "the places to be free", 20)
    server.wait(lambda: gauge(server, "vllm:num_requests_running") == 0, "the engine to be idle", 20)
    server.wait(lambda: left() >= before + 1, "an early end to be counted", 20)
    assert caller.ask().status_code == 200


def test_row_66_of_500_at_once_some_are_answered_and_the_rest_told_when_to_come_again(server: Server) -> None:
    caller = Caller(server, "flood")
    body = Case(66, CHAT, {"max_tokens": MAX_TOKENS, "logit_bias": {"2": -100}}).body()
    headers = {"Authorization": f"Bearer {caller.key}", "Content-Type": "application/json"}

    async def flood() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=500)
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=120, limits=limits) as client:
            return await asyncio.gather(*(client.post(CHAT, content=body) for _ in range(500)))

    answers = asyncio.run(flood())
    good = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code in (429, 503)]
    assert len(good) + len(refused) == 500
    assert good
    assert refused
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert all(answer.json()["usage"]["completion_tokens"] == MAX_TOKENS for answer in good)


@pytest.mark.parametrize("text", ["a\nb", "$where: 1", "{{7*7}}", "%s%n", "\u0000", "<script>", "' OR 1=1 --"])
def test_row_67_names_and_notes_of_the_caller_are_inert(caller: Caller, text: str) -> None:
    plain = caller.ask().json()["choices"][0]["message"]["content"]
    answer = caller.ask(user=text, metadata={"note": text})
    assert answer.json()["choices"][0]["message"]["content"] == plain


def test_row_67_long_names_and_notes_are_refused(caller: Caller) -> None:
    for case in (
        *values(67, "user", "x" * 900_000, 5, {}),
        *values(67, "metadata", {"a": "x" * 900_000}, {"a": 1}, {str(key): "" for key in range(17)}, "x"),
    ):
        assert caller.refused(case.body())["param"].startswith(case.param or "")
    caller.refused(Case(67, CHAT, {"user": "x" * (1 << 20)}).body(), status=413)


def test_row_68_the_same_request_twice_is_answered_once(caller: Caller) -> None:
    first = caller.ask(temperature=1.0, headers={"Idempotency-Key": "k-1"})
    again = caller.ask(temperature=1.0, headers={"Idempotency-Key": "k-1"})
    assert first.status_code == again.status_code == 200
    assert again.content == first.content
    assert again.headers["x-request-id"] == first.headers["x-request-id"]
    assert again.headers["idempotent-replayed"] == "true"
    other = Case(68, CHAT, {"temperature": 0.5}).body()
    assert caller.refused(other, status=409, **{"Idempotency-Key": "k-1"})["code"] == "idempotency_key_reused"
    fresh = caller.ask(temperature=1.0, headers={"Idempotency-Key": "k-2"})
    assert fresh.json()["id"] != first.json()["id"]


def test_row_68_a_malformed_key_or_one_for_a_stream_is_refused(caller: Caller) -> None:
    for name in ("", "a b", "x" * 129):
        caller.refused(Case(68, CHAT, {}).body(), **{"Idempotency-Key": name})
    caller.refused(Case(68, CHAT, {"stream": True}).body(), **{"Idempotency-Key": "k-3"})


@pytest.mark.parametrize("deadline", ["0", "-1", "soon", "", "nan", "inf", "1e999", "0x10"])
def test_row_69_a_deadline_is_a_number_of_seconds(caller: Caller, deadline: str) -> None:
    caller.refused(Case(69, CHAT, {}).body(), **{"X-Deadline-S": deadline})


def test_row_69_a_long_deadline_is_cut(caller: Caller) -> None:
    assert caller.ask(headers={"X-Deadline-S": "1000000000"}).status_code == 200
