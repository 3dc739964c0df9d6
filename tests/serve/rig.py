"""Hot swapping over engines that fail on demand, and a real ledger."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from feedback import policies, promotion
from feedback.client import Ledger
from feedback.errors import EngineError, SwapFailed
from feedback.records import Message, SwapEvent
from serve.engines.base import Token
from serve.engines.slot import Slot
from serve.settings import ServeSettings
from serve.swapping import weights
from serve.swapping.hotswap import HotSwap
from serve.swapping.registry import Registry
from serve.swapping.traffic import Traffic
from tests.builders import make_policy
from tests.serve.fakes import FakeEngine

A, B, C, D = (f"policy-{number:04d}" for number in range(4))
SHAPE = weights.Shape(config="c", tokenizer="t", chat_template="t", tensors="t")


class Rig:
    """Hot swapping over fake engines; ``files_bad``, ``load_fails`` and ``probe_fails`` name versions."""

    def __init__(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, slots: int) -> None:
        self.ledger = ledger
        self.files_bad: set[str] = set()
        self.load_fails: set[str] = set()
        self.probe_fails: set[str] = set()
        self.engines: list[FakeEngine] = []
        self.settings = ServeSettings.load(
            slots=slots, replica="r1", poll_s=0.05, drain_deadline_s=0.3, swap_retry_s=0.4, gate_wait_s=1.0
        )
        for version in (A, B, C, D):
            policies.register(ledger, make_policy(version, path=version))
        monkeypatch.setattr(weights, "inspect", self._inspect)
        self.slots = [Slot(name, self._start) for name in "abcd"[:slots]]
        self.traffic = Traffic(self.slots, self.settings.gate_wait_s)

    def _inspect(self, path: Path, sha256: str) -> weights.Shape:
        if path.name in self.files_bad:
            raise SwapFailed(f"{path.name} is bad")
        return SHAPE

    async def _start(self, path: Path, version: str) -> FakeEngine:
        rig = self

        class Engine(FakeEngine):
            async def load(self, path: Path, version: str, deadline_s: float) -> None:
                self.version = ""
                await asyncio.sleep(0.02)
                if version in rig.load_fails:
                    raise EngineError("the load failed")
                await super().load(path, version, deadline_s)

            async def greedy(self, prompt: list[Message] | list[int], max_tokens: int) -> list[Token]:
                if self.version in rig.probe_fails:
                    raise EngineError("nothing finite")
                return await super().greedy(prompt, max_tokens)

        if version in self.load_fails:
            raise EngineError("it did not start")
        self.engines.append(Engine(path, version))
        return self.engines[-1]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[HotSwap]:
        registry = Registry(self.ledger.url, "r1", Path("/nowhere"), lambda: self.traffic.slots)
        hotswap = HotSwap(self.settings, registry, self.traffic, self.slots)
        task = asyncio.create_task(hotswap.run())
        try:
            yield hotswap
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await hotswap.stop()

    async def until(self, condition: Callable[[], bool], deadline_s: float = 5.0) -> None:
        async with asyncio.timeout(deadline_s):
            while not condition():
                await asyncio.sleep(0.005)

    async def promote(self, version: str) -> None:
        await asyncio.to_thread(promotion.promote, self.ledger, version, "olga")

    async def live(self, version: str) -> None:
        await self.until(lambda: self.traffic.live_version == version)

    async def held(self, *versions: str) -> None:
        await self.until(lambda: sorted(slot.version for slot in self.slots) == sorted(versions))

    def events(self, version: str) -> list[SwapEvent]:
        return [event for event in promotion.swaps(self.ledger) if event.version == version]

    async def event(self, version: str, state: str) -> SwapEvent:
        await self.until(lambda: any(event.state == state for event in self.events(version)))
        return next(event for event in self.events(version) if event.state == state)
