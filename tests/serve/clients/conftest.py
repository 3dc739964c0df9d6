"""The whole application behind a socket with an engine that echoes, for what clients make of refusals."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from feedback.client import Ledger
from tests.serve.served import Served, echo, served, traffic_of


@pytest.fixture
def front(ledger: Ledger, tmp_path: Path) -> Iterator[Served]:
    """The application, with room for one request at a time."""
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
