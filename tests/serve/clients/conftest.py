"""What tests of clients share: how to look at what was logged, and an application that refuses when told to."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from feedback import interactions, keys
from feedback.client import Ledger
from feedback.records import Interaction
from tests.serve.conftest import Server
from tests.serve.served import Served, echo, served, traffic_of


def logged(server: Server, id: str) -> Interaction:
    """Return the record of an answer, waiting for it to come from the spool into the ledger."""
    server.wait(lambda: bool(server.ledger.redis.exists(keys.interaction(id))), f"{id} in the ledger", 20)
    return interactions.get(server.ledger, id)


def whole_characters(text: str) -> str:
    """Return a text without the last character where its bytes were cut; engines keep it back, transformers do not."""
    return text.rstrip("\N{REPLACEMENT CHARACTER}")


@pytest.fixture
def front(ledger: Ledger, tmp_path: Path) -> Iterator[Served]:
    """The whole application behind a socket, an engine that echoes, and room for one request at a time."""
    with served(ledger, tmp_path, max_running=1, max_waiting=0) as found:
        yield found


class Held:
    """Keeps the engine of a served application from answering until it is let go."""

    def __init__(self, front: Served) -> None:
        self.waits = threading.Event()
        """Set when a request has reached the engine."""
        self._release = threading.Event()
        slot = traffic_of(front.app).live_slot
        assert slot is not None
        slot.engine.app = self._app  # type: ignore[union-attr, method-assign, misc, assignment]

    def let_go(self) -> None:
        self._release.set()

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await receive()
        self.waits.set()
        leaving = asyncio.ensure_future(receive())  # as vLLM does: whoever leaves is not answered
        while not self._release.is_set() and not leaving.done():
            await asyncio.sleep(0.01)
        if leaving.done():
            return
        leaving.cancel()

        async def again() -> Message:
            return body

        await echo(scope, again, send)


@pytest.fixture
def held(front: Served) -> Iterator[Held]:
    """The engine answers nobody before it is let go; at the end it is."""
    found = Held(front)
    yield found
    found.let_go()
