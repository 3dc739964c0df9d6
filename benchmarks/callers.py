"""Labelers who lease and submit over HTTP as fast as they are let: a process of its own that costs little.

Raw sockets, one request at a time on each, bodies made by hand and answers searched for three fields, so that the load
takes little of the cores that the server needs. ``python -m benchmarks.callers`` reads one `Shift` on standard input
and prints one `Record`: everything that the labelers were told, by their own clocks.
"""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
import sys
import time
import uuid
from itertools import chain, cycle

import msgspec

ITEM = re.compile(rb'"item_id":\s?"([^"]+)"')
TOKEN = re.compile(rb'"token":\s?(\d+)')
DEADLINE = re.compile(rb'"deadline_s":\s?([\d.]+)')
INDEX = re.compile(rb'"index":')
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
IDLE_S = 0.05
"""Pause of a labeler for whom nothing is left, before they look again."""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """One server, and who has a key there."""

    port: int
    keys: dict[str, str]
    """Labeler -> secret."""


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """Who works, on what, and for how long."""

    sites: list[Site]
    """Several servers are compared: each labeler goes from one to the next, item by item, so that whatever else the
    machine does falls on all alike. They have the same labelers."""
    queue: str = "training"
    seconds: float
    """Time after which nobody asks for another item."""
    pairs: int = 0
    """Items after which everybody stops; 0 for any number."""
    vanish: float = 0.0
    """Chance that a labeler who has an item never comes back to it."""
    until_empty: bool = False
    """Stop once nothing was left for anybody for as long as ``patience_s``."""
    patience_s: float = 0.0
    seed: int = 0


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """One item that a labeler was given, and what became of it. Times are Unix seconds of the caller's clock."""

    site: int
    """Which of the servers."""
    item: str
    labeler: str
    token: int
    asked_s: float
    given_s: float
    deadline_s: float
    sent_s: float = 0.0
    answered_s: float = 0.0
    fate: str = ""
    """``answered``, ``vanished``, or the status that refused the answer."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What all labelers of a shift saw."""

    given: list[Given]
    faults: dict[str, int]
    """Status of an answer that was none of those expected -> how often."""
    seconds: float


def work(shift: Shift) -> Record:
    """Run a shift in a process of its own and return what its labelers saw."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.callers"],
        input=msgspec.json.encode(shift),
        stdout=subprocess.PIPE,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Record)


class Caller:
    """One labeler on one connection to one server."""

    def __init__(self, site: int, port: int, name: str, secret: str) -> None:
        self.site, self.name = site, name
        self._port = port
        self._head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {secret}\r\nContent-Type: application/json\r\n".encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def close(self) -> None:
        """Leave."""
        if self._streams is not None:
            self._streams[1].close()
            await self._streams[1].wait_closed()

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send one request and return status and body of its answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(
            b"POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (path.encode(), self._head, len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        found = LENGTH.search(head)
        answer = await reader.readexactly(int(found[1])) if found else b""
        if b"connection: close" in head.lower():
            writer.close()
            self._streams = None
        return int(head[9:12]), answer


class Desk:
    """What the labelers of one shift share."""

    def __init__(self, shift: Shift) -> None:
        self.shift = shift
        self.random = random.Random(shift.seed)
        self.given: list[Given] = []
        self.faults: dict[str, int] = {}
        self.until = time.monotonic() + shift.seconds
        self.busy_s = time.monotonic()
        self.begun = 0

    def open(self) -> bool:
        """Tell whether to ask for another item."""
        now, shift = time.monotonic(), self.shift
        if now > self.until or (shift.pairs and self.begun >= shift.pairs):
            return False
        return not (shift.until_empty and now - self.busy_s > shift.patience_s)

    async def sit(self, callers: list[Caller]) -> None:
        """Lease and answer until the shift ends, at one server after the other."""
        asked = b'{"queue":"%s"}' % self.shift.queue.encode()
        for caller in cycle(callers):
            if not self.open():
                return
            self.begun += 1
            began_s = time.time()
            status, answer = await caller.post("/v1/labeling/next", asked)
            if status != 200:
                self.begun -= 1
                if status not in (204, 429):
                    self.faults[str(status)] = self.faults.get(str(status), 0) + 1
                await asyncio.sleep(IDLE_S)
                continue
            self.busy_s = time.monotonic()
            one = seen(answer, caller, began_s)
            if self.random.random() < self.shift.vanish:
                self.given.append(msgspec.structs.replace(one, fate="vanished"))
                continue
            self.given.append(await self._answer(caller, one, len(INDEX.findall(answer))))

    async def _answer(self, caller: Caller, one: Given, k: int) -> Given:
        ranking = list(range(k))
        self.random.shuffle(ranking)
        body = b'{"token":%d,"submission_id":"%s","ranking":[%s]}' % (
            one.token,
            str(uuid.UUID(int=self.random.getrandbits(128), version=4)).encode(),
            b",".join(b"[%d]" % index for index in ranking),
        )
        sent_s = time.time()
        status, _ = await caller.post(f"/v1/labeling/items/{one.item}/submit", body)
        fate = "answered" if status == 200 else str(status)
        return msgspec.structs.replace(one, sent_s=sent_s, answered_s=time.time(), fate=fate)


def seen(answer: bytes, caller: Caller, asked_s: float) -> Given:
    """Return what a labeler was given, from the bytes of the answer."""
    item, token, deadline = ITEM.search(answer), TOKEN.search(answer), DEADLINE.search(answer)
    assert item is not None
    assert token is not None
    assert deadline is not None
    return Given(
        site=caller.site,
        item=item[1].decode(),
        labeler=caller.name,
        token=int(token[1]),
        asked_s=asked_s,
        given_s=time.time(),
        deadline_s=float(deadline[1]),
    )


async def run(shift: Shift) -> Record:
    """Let all labelers of a shift work."""
    desk, began = Desk(shift), time.monotonic()
    people = [
        [Caller(place, site.port, name, site.keys[name]) for place, site in enumerate(shift.sites)]
        for name in shift.sites[0].keys
    ]
    await asyncio.gather(*(desk.sit(callers) for callers in people))
    for caller in chain.from_iterable(people):
        await caller.close()
    return Record(given=desk.given, faults=desk.faults, seconds=time.monotonic() - began)


if __name__ == "__main__":
    found = asyncio.run(run(msgspec.json.decode(sys.stdin.buffer.read(), type=Shift)))
    sys.stdout.buffer.write(msgspec.json.encode(found))
