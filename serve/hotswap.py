"""Hot swapping: makes the slots follow the ledger's ``live``.

Watches the registry; loads a new version into the idle slot, checks it, and only then moves the pointer. New weights
that fail any check answer nobody, and the old version keeps answering. Nothing here can be reached by a request.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Literal

from feedback import metrics
from feedback.errors import EngineError, LedgerUnavailable, NotFound, SwapFailed, WhetstoneError
from feedback.log import get
from feedback.records import SwapEvent, utc_now
from serve import probe, weights
from serve.engines.slot import Slot
from serve.registry import Registry
from serve.settings import ServeSettings
from serve.traffic import Traffic

RETRY_S = 30.0
"""Seconds until an engine that failed to start, or died, is started again."""
log = get(__name__)


class HotSwap:
    """One task that reconciles slots with aliases, four times a second by default."""

    def __init__(self, settings: ServeSettings, registry: Registry, traffic: Traffic, slots: Sequence[Slot]) -> None:
        self._settings = settings
        self._registry = registry
        self._traffic = traffic
        self._slots = slots
        self._shape: weights.Shape | None = None
        """Shape of the policies that the running engines were started for."""
        self._refused = ""
        """The live version that failed; not tried again until the alias moves."""
        self._not_before = 0.0
        self._warming: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Follow the registry until cancelled."""
        while True:
            try:
                aliases = await self._registry.look()
                await self._bury_dead()
                if aliases is not None:
                    await self.reconcile(aliases)
            except Exception:  # a fault here must not end swapping for good while answering goes on
                log.exception("watching the registry failed")
            await asyncio.sleep(self._settings.poll_s)

    async def stop(self) -> None:
        """Stop warming and end all engines at once."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        await asyncio.gather(*(slot.clear() for slot in self._slots))
        self._registry.close()

    async def reconcile(self, aliases: dict[str, str]) -> None:
        """Make ``live`` answer as the ledger says, or leave everything as it is."""
        self._traffic.know(aliases)
        live = aliases.get("live", "")
        if live != self._refused:
            self._refused = ""
        if live and live not in (self._traffic.live_version, self._refused):
            await self._swap(live)
        elif self._traffic.live_version:
            self._warm(aliases)

    async def _swap(self, version: str) -> None:
        """Make ``version`` live and note how it went."""
        if time.monotonic() < self._not_before and not self._traffic.live_version:
            return
        previous, started = self._traffic.live_version, time.monotonic()
        await self._note(version, "pending", previous)
        try:
            slot = self._traffic.holding(version) or await self._load(version)
        except LedgerUnavailable:
            return  # it will be there again, and so will this promotion
        except WhetstoneError as error:
            await self._fail(version, previous, error)
            return
        load_s = time.monotonic() - started
        in_flight = self._traffic.point(slot)
        metrics.swaps_total.labels("live").inc()
        metrics.swap_load_seconds.observe(load_s)
        await self._note(version, "live", previous, load_s=load_s, in_flight=in_flight)
        log.info("swapped", version=version, previous=previous, slot=slot.name, load_s=load_s, in_flight=in_flight)

    async def _load(self, version: str) -> Slot:
        """Return an idle slot that holds ``version``, checked and open.

        Raises:
            SwapFailed: the policy or the engine's answers are not what they should be; the slot stays shut.
            EngineError: the engine failed.
            NotFound: the registry does not know the version.
        """
        if self._warming is not None:
            await asyncio.wait([self._warming])
        slot = self._traffic.idle()
        if slot is None:
            raise SwapFailed("no slot is idle")
        await self._put(slot, version)
        return slot

    async def _put(self, slot: Slot, version: str) -> None:
        policy, path = await self._registry.policy(version)
        shape = await asyncio.to_thread(weights.inspect, path, policy.sha256)
        if self._shape is not None and (parts := self._shape.differences(shape)):
            if self._traffic.live_version:
                raise SwapFailed(f"{version} differs from the live policy in {', '.join(parts)}; restart to serve it")
            await asyncio.gather(*(each.clear() for each in self._slots))  # nobody is answered, so start over
        engine = await slot.put(path, version, self._settings.drain_deadline_s)
        self._shape = shape
        try:
            await probe.verify(engine, path, self._settings.probe_tolerance)
        except WhetstoneError:
            slot.refuse()
            raise
        slot.open(version)

    def _warm(self, aliases: dict[str, str]) -> None:
        """Start an engine in an empty slot, in the background, so that the next swap only loads weights."""
        empty = next((slot for slot in self._slots if slot.engine is None and slot.state != "starting"), None)
        if empty is None or time.monotonic() < self._not_before or (self._warming and not self._warming.done()):
            return
        versions = [aliases.get("previous", ""), self._traffic.live_version]
        self._warming = asyncio.create_task(self._warm_with(empty, [version for version in versions if version]))

    async def _warm_with(self, slot: Slot, versions: list[str]) -> None:
        for version in versions:
            try:
                await self._put(slot, version)
                self._traffic.refresh()
                return
            except (SwapFailed, NotFound) as error:
                log.warning("a slot could not take this version", slot=slot.name, version=version, reason=str(error))
            except (EngineError, LedgerUnavailable) as error:
                log.error("a slot could not start", slot=slot.name, reason=str(error))
                break
        await slot.clear()
        self._not_before = time.monotonic() + RETRY_S

    async def _bury_dead(self) -> None:
        """Empty slots whose engine died; a live one takes the pointer with it, so that `reconcile` acts."""
        for slot in self._slots:
            if slot.engine is not None and slot.engine.dead and slot.state in ("ready", "failed"):
                log.error("an engine died", slot=slot.name, version=slot.version)
                if slot is self._traffic.live_slot:
                    self._traffic.point(None)
                await slot.clear()

    async def _fail(self, version: str, previous: str, error: WhetstoneError) -> None:
        if self._traffic.live_version or isinstance(error, SwapFailed | NotFound):
            self._refused = version
        else:
            self._not_before = time.monotonic() + RETRY_S
        metrics.swaps_total.labels("failed").inc()
        await self._note(version, "failed", previous, error=str(error))
        log.error("swap failed; the old version keeps answering", version=version, previous=previous, reason=str(error))

    async def _note(
        self,
        version: str,
        state: Literal["pending", "live", "failed"],
        previous: str,
        *,
        load_s: float = 0.0,
        in_flight: int = 0,
        error: str = "",
    ) -> None:
        event = SwapEvent(
            at=utc_now(),
            replica=self._settings.replica,
            version=version,
            state=state,
            previous=previous,
            load_s=load_s,
            in_flight=in_flight,
            error=error,
        )
        await self._registry.note(event)
