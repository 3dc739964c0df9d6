"""One place for an engine: what it holds, how many requests it answers, and how it changes.

Driven from one event loop. Does not decide what to load or who is live.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from feedback import metrics
from feedback.errors import EngineError, SwapFailed
from serve.engines.base import Engine

State = Literal["empty", "starting", "loading", "ready", "failed"]
StartEngine = Callable[[Path, str], Awaitable[Engine]]


@dataclass(frozen=True)
class SlotState:
    """What a slot looks like from outside."""

    slot: str
    version: str
    state: State
    in_flight: int


class Slot:
    """Empty at first; `put` starts or reloads its engine; `ready` only after that succeeded."""

    def __init__(self, name: str, start_engine: StartEngine) -> None:
        self.name = name
        self.version = ""
        """The policy version that it answers as; empty unless ready."""
        self.state: State = "empty"
        self.engine: Engine | None = None
        self.in_flight = 0
        self._start_engine = start_engine
        self._quiet = asyncio.Event()
        self._quiet.set()
        metrics.in_flight.labels(name).set(0)

    def look(self) -> SlotState:
        """Return the state now."""
        return SlotState(self.name, self.version, self.state, self.in_flight)

    @contextmanager
    def hold(self) -> Iterator[Engine]:
        """Yield the engine and count one request in flight until the block ends.

        Raises:
            EngineError: the slot is not ready.
        """
        if self.state != "ready" or self.engine is None:
            raise EngineError(f"slot {self.name} is {self.state}")
        with self._counted():
            yield self.engine

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.in_flight += 1
        self._quiet.clear()
        metrics.in_flight.labels(self.name).set(self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1
            metrics.in_flight.labels(self.name).set(self.in_flight)
            if self.in_flight == 0:
                self._quiet.set()

    async def put(self, path: Path, version: str, deadline_s: float) -> Engine:
        """Make the slot hold ``version`` and return its engine; the slot is not ready until `open`.

        From the first moment on no request enters; those inside get ``deadline_s`` to finish.

        Raises:
            SwapFailed: they did not finish in time; the slot answers as before.
            EngineError: the engine did not start or refused the weights; the slot is failed, nobody enters.
        """
        before = self.state
        self.state = "starting" if self.engine is None else "loading"
        try:
            await asyncio.wait_for(self._quiet.wait(), deadline_s)
        except TimeoutError as error:
            self.state = before
            raise SwapFailed(
                f"slot {self.name} still answers {self.in_flight} requests after {deadline_s:g} s"
            ) from error
        self.version = ""
        try:
            if self.engine is None:
                self.engine = await self._start_engine(path, version)
            else:
                await self.engine.load(path, version, deadline_s)
        except EngineError:
            self.state = "failed"
            raise
        return self.engine

    def open(self, version: str) -> None:
        """Let requests in."""
        self.version = version
        self.state = "ready"

    def refuse(self) -> None:
        """Keep requests out: what the slot holds did not pass its probe, or is unknown."""
        self.version = ""
        self.state = "failed"

    async def clear(self) -> None:
        """End the engine and be empty; requests inside fail."""
        self.version = ""
        self.state = "empty"
        engine, self.engine = self.engine, None
        if engine is not None:
            await engine.close()
