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
from feedback.errors import EngineError, SwapDeferred
from feedback.records import Message
from serve.engines.base import Engine

State = Literal["empty", "starting", "loading", "ready", "failed"]
StartEngine = Callable[[Path, str], Awaitable[Engine]]
PROBE = [Message(role="user", content="hello")]
LOOK_S = 0.05
"""Seconds between two looks at whether an engine that is asked for a token gives one to anybody."""


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
        self.fault = ""
        """Why its engine was given up, until `take_out`."""
        self._start_engine = start_engine
        self._quiet = asyncio.Event()
        self._quiet.set()
        metrics.in_flight.labels(name).set(0)

    @property
    def changing(self) -> bool:
        """True while somebody puts something into it."""
        return self.state in ("starting", "loading")

    def look(self) -> SlotState:
        """Return the state now."""
        return SlotState(self.name, self.version, self.state, self.in_flight)

    @contextmanager
    def hold(self) -> Iterator[Engine]:
        """Yield the engine and count one request in flight until the block ends.

        Raises:
            EngineError: the slot is not ready, or its engine died a moment ago.
        """
        if self.state != "ready" or self.engine is None:
            raise EngineError(f"slot {self.name} is {self.state}")
        if self.engine.dead:
            raise EngineError(f"the engine of slot {self.name} died")
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

    async def prove(self, deadline_s: float) -> None:
        """Return once the engine gave a token: to a probe that goes before customers, or to anybody meanwhile.

        Raises:
            EngineError: the slot is not ready, or nothing came within ``deadline_s``.
        """
        with self.hold() as engine:
            before = engine.progress
            asking = asyncio.ensure_future(engine.greedy(PROBE, 1))
            try:
                async with asyncio.timeout(deadline_s):
                    while not asking.done() and engine.progress == before:
                        await asyncio.wait([asking], timeout=LOOK_S)
                if asking.done():
                    asking.result()
            except TimeoutError as error:
                raise EngineError(f"slot {self.name} generated nothing within {deadline_s:g} s") from error
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    async def put(self, path: Path, version: str, deadline_s: float, load_deadline_s: float = 600.0) -> Engine:
        """Make the slot hold ``version`` and return its engine; the slot is not ready until `open`.

        From the first moment on no request enters; those inside get ``deadline_s`` to finish.

        Raises:
            SwapDeferred: they did not finish in time; the slot answers as before.
            EngineError: the engine did not start, refused the weights or took longer than ``load_deadline_s`` to load
                them (and was ended); the slot is failed, nobody enters.
        """
        before = self.state
        self.state = "starting" if self.engine is None else "loading"
        try:
            if self.engine is not None:  # what is still inside without one waits for an engine that is gone
                await asyncio.wait_for(self._quiet.wait(), deadline_s)
        except BaseException as error:
            self.state = before
            if isinstance(error, TimeoutError):
                raise SwapDeferred(
                    f"slot {self.name} still answers {self.in_flight} requests after {deadline_s:g} s"
                ) from error
            raise
        self.version = ""
        try:
            if self.engine is None:
                self.engine = await self._start_engine(path, version)
            else:
                await self._load(self.engine, path, version, load_deadline_s)
        except BaseException:
            self.state = "failed"
            raise
        return self.engine

    async def _load(self, engine: Engine, path: Path, version: str, deadline_s: float) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                await engine.load(path, version, deadline_s)
        except TimeoutError as error:
            await self.give_up("load stalled")
            raise EngineError(f"slot {self.name} did not load {version} within {deadline_s:g} s") from error

    def open(self, version: str) -> None:
        """Let requests in."""
        self.version = version
        self.state = "ready"

    def refuse(self) -> None:
        """Keep requests out: what the slot holds did not pass its probe, or is unknown."""
        self.version = ""
        self.state = "failed"

    async def give_up(self, fault: str) -> None:
        """Keep requests out and end the engine's processes at once; requests inside fail."""
        self.fault = fault
        self.refuse()
        if self.engine is not None:
            await self.engine.kill()

    def take_out(self) -> Engine | None:
        """Be empty, and return the engine for somebody to close."""
        engine, self.engine = self.engine, None
        self.version = self.fault = ""
        self.state = "empty"
        return engine

    async def clear(self) -> None:
        """End the engine and be empty; requests inside fail."""
        engine = self.take_out()
        if engine is not None:
            await engine.close()
