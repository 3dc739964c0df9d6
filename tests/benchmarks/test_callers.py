"""Labelers as a load: they lease, answer, leave items lying, and write down what they were told."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from benchmarks.callers import Caller, Record, Shift, Site, run, seen

ITEM = (
    b'{"item_id":"cmp_%d","kind":"comparison","token":%d,"deadline_s":1795000000.5,'
    b'"completions":[{"index":1,"text":"x"},{"index":0,"text":"y"}]}'
)


class Upstream:
    """An API that hands out so many items and takes answers."""

    def __init__(self, items: int, submit_status: int = 200) -> None:
        self.left = items
        self.submit_status = submit_status
        self.answers: list[tuple[str, dict[str, object]]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.read(65536):
            line, _, rest = head.partition(b"\r\n")
            path, body = line.split(b" ")[1].decode(), rest.partition(b"\r\n\r\n")[2]
            assert b"Authorization: Bearer secret" in rest
            status, answer = self.reply(path, body)
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(answer), answer))
        writer.close()
        await writer.wait_closed()

    def reply(self, path: str, body: bytes) -> tuple[int, bytes]:
        if path.endswith("/submit"):
            self.answers.append((path, msgspec.json.decode(body)))
            return self.submit_status, b"{}"
        assert msgspec.json.decode(body) == {"queue": "training"}
        if self.left == 0:
            return 204, b""
        self.left -= 1
        return 200, ITEM % (self.left, self.left + 1)


@asynccontextmanager
async def listening(upstream: Upstream) -> AsyncIterator[int]:
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def shift_of(upstream: Upstream, **changes: object) -> Record:
    async def play() -> Record:
        async with listening(upstream) as port:
            shift = Shift(sites=[Site(port=port, keys={"lee": "secret", "ann": "secret"})], seconds=20.0)
            return await run(msgspec.structs.replace(shift, **changes))

    return asyncio.run(play())


def test_they_answer_all_that_there_is_and_stop_when_nothing_comes() -> None:
    upstream = Upstream(items=30)
    record = shift_of(upstream, until_empty=True, patience_s=0.2)
    assert sorted(each.item for each in record.given) == sorted(f"cmp_{number}" for number in range(30))
    assert {each.fate for each in record.given} == {"answered"}
    assert {each.labeler for each in record.given} == {"lee", "ann"}
    assert record.faults == {}
    path, body = upstream.answers[0]
    assert body["token"] == int(path.split("/")[4].removeprefix("cmp_")) + 1
    assert sorted(map(tuple, body["ranking"])) == [(0,), (1,)]  # type: ignore[call-overload]
    assert len({uuid.UUID(str(body["submission_id"])) for _, body in upstream.answers}) == 30


def test_what_they_leave_lying_is_written_down_and_not_answered() -> None:
    upstream = Upstream(items=40)
    record = shift_of(upstream, until_empty=True, patience_s=0.2, vanish=0.5, seed=3)
    vanished = [each for each in record.given if each.fate == "vanished"]
    assert 5 < len(vanished) < 35
    assert len(upstream.answers) == 40 - len(vanished)
    assert all(each.deadline_s == 1795000000.5 for each in vanished)


def test_a_refused_answer_is_no_answer() -> None:
    record = shift_of(Upstream(items=2, submit_status=409), until_empty=True, patience_s=0.2)
    assert [each.fate for each in record.given] == ["409", "409"]


def test_at_two_servers_each_labeler_goes_from_one_to_the_other() -> None:
    first, second = Upstream(items=50), Upstream(items=50)

    async def play() -> Record:
        async with listening(first) as one, listening(second) as two:
            sites = [Site(port=port, keys={"lee": "secret"}) for port in (one, two)]
            return await run(Shift(sites=sites, seconds=20.0, pairs=20))

    record = asyncio.run(play())
    assert [each.site for each in record.given] == [0, 1] * 10
    assert (first.left, second.left) == (40, 40)


@pytest.mark.parametrize("pairs", [1, 7])
def test_they_stop_after_so_many_items(pairs: int) -> None:
    record = shift_of(Upstream(items=100), pairs=pairs)
    assert len(record.given) == pairs


def test_what_was_given_is_read_from_the_bytes_of_the_answer() -> None:
    found = seen(ITEM % (5, 6), Caller(1, 80, "lee", "secret"), 1.0)
    assert (found.item, found.token, found.deadline_s, found.asked_s) == ("cmp_5", 6, 1795000000.5, 1.0)
    assert (found.site, found.labeler) == (1, "lee")
    assert found.given_s >= found.asked_s
