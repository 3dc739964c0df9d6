"""Hot swapping: makes the slots follow the ledger's ``live``, keeps warm what may be asked for next.

Watches the registry; loads a new version into an idle slot, checks it, and only then moves the pointer. New weights
that fail any check answer nobody, and the old version keeps answering. Nothing here can be reached by a request.
With one slot there is no idle one: callers wait at the gate while it takes the new weights, or gets the old ones back.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import Literal

from feedback import metrics
from feedback.errors import EngineError, LedgerUnavailable, NotFound, SwapDeferred, SwapFailed, WhetstoneError
from feedback.log import get
from feedback.records import SwapEvent, utc_now
from serve.engines.base import Engine
from serve.engines.slot import Slot
from serve.settings import ServeSettings
from serve.swapping.loading import Loader, Prepared
from serve.swapping.registry import Registry, View
from serve.swapping.traffic import Traffic

ENGINE_ATTEMPTS = 3
"""Engines that a version may fail in a row while another one answers; then it counts as refused."""
log = get(__name__)


class HotSwap:
    """One task that reconciles slots with what operators want, at once after a move and a few times a second."""

    def __init__(self, settings: ServeSettings, registry: Registry, traffic: Traffic, slots: Sequence[Slot]) -> None:
        self._settings = settings
        self._registry = registry
        self._traffic = traffic
        self._slots = slots
        self._loader = Loader(settings, registry, slots)
        self._view = View()
        self._retry_at: dict[str, float] = {}
        """When a version that failed may be tried again; never, if the policy itself was refused."""
        self._engine_failures: Counter[str] = Counter()
        self._stage_at = 0.0
        """When an engine that did not start beside the live one may be tried again."""
        self._last = ""
        """What answered last."""
        self._serving: Prepared | None = None
        """What was loaded last to answer, where the only slot gets it back from."""
        self._job: asyncio.Task[None] | None = None
        """The one load under way."""
        self._watch: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Follow the registry until cancelled."""
        while True:
            try:
                view = await self._registry.look()
                self._bury_dead()
                if view is not None:
                    self._know(view)
                self.reconcile()
                await self._report_breach()
            except Exception:  # a fault here must not end swapping for good while answering goes on
                log.exception("watching the registry failed")
            await self._pause()

    async def _pause(self) -> None:
        """Wait for a move in the ledger or the end of the load under way, at most ``poll_s``."""
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._registry.changed(self._settings.poll_s))
        tasks = [task for task in (self._watch, self._job) if task is not None and not task.done()]
        await asyncio.wait(tasks, timeout=self._settings.poll_s, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self) -> None:
        """Stop loading and end all engines at once."""
        tasks = [task for task in (self._job, self._watch) if task is not None]
        for task in tasks:
            task.cancel()
        self._registry.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(slot.clear() for slot in self._slots), *self._closing)

    def _know(self, view: View) -> None:
        """Take over what operators want; a version that is wanted anew gets a new chance."""
        if view.aliases.get("live") != self._view.aliases.get("live"):
            self._forgive(view.aliases.get("live", ""))
        if view.canary is not None and view.canary != self._view.canary:
            self._forgive(view.canary.version)
        self._view = view
        self._traffic.know(view.aliases, view.canary)

    def _forgive(self, version: str) -> None:
        self._retry_at.pop(version, None)
        self._engine_failures.pop(version, None)

    def reconcile(self) -> None:
        """Make ``live`` answer as the ledger says, or leave everything as it is and start what is missing for it."""
        goal = self._goal()
        if goal and goal != self._traffic.live_version:
            slot = self._traffic.holding(goal)
            if slot is not None:
                self._point(slot, 0.0)
            else:
                self._start(goal, self._slot_for(goal), live=True)
        elif goal:
            self._stage(goal)

    def _goal(self) -> str:
        """Return the version that is to answer: live, unless it failed; then what answered last, or before."""
        aliases = self._view.aliases
        if not aliases.get("live"):
            return ""
        wanted = (aliases["live"], self._traffic.live_version, self._last, aliases.get("previous", ""))
        return next((version for version in wanted if version and self._may_try(version)), "")

    def _may_try(self, version: str) -> bool:
        return version == self._traffic.live_version or time.monotonic() >= self._retry_at.get(version, 0.0)

    def _keep(self, goal: str) -> list[str]:
        """Return the versions to keep in slots, the most useful first, as many as there are slots."""
        trial = self._traffic.trial
        canary = trial.canary.version if trial is not None and not trial.breach else ""
        wanted = [goal, canary, self._view.aliases.get("previous", ""), self._view.aliases.get("candidate", "")]
        usable = [version for version in dict.fromkeys(wanted) if version and self._may_try(version)]
        return usable[: len(self._slots)]

    def _slot_for(self, goal: str) -> Slot | None:
        idle = self._traffic.idle(self._keep(goal))
        if not idle and len(self._slots) == 1:
            return self._slots[0] if self._slots[0].state == "ready" else None
        return idle[0] if idle else None

    def _stage(self, goal: str) -> None:
        """Load what may be asked for next into a slot that can be spared; no slot stays without an engine."""
        if time.monotonic() < self._stage_at:
            return
        keep = self._keep(goal)
        slot = self._traffic.spare(keep)
        missing = next((version for version in keep if self._traffic.holding(version) is None), None)
        if slot is not None and (missing is not None or slot.state != "ready"):
            self._start(missing or goal, slot, live=False)

    def _start(self, version: str, slot: Slot | None, *, live: bool) -> None:
        if slot is not None and (self._job is None or self._job.done()):
            self._job = asyncio.create_task(self._bring(version, slot, live=live))

    async def _bring(self, version: str, slot: Slot, *, live: bool) -> None:
        """Load a version into a slot, make it live if it is to be, and note how it went."""
        started, previous = time.monotonic(), self._traffic.live_version
        if live:
            self._note(version, "pending", previous)
        try:
            prepared = await self._loader.prepare(version)
            if slot is self._traffic.live_slot:
                await self._exchange(slot, prepared)
            else:
                await self._loader.put(slot, prepared, serving=bool(previous))
        except LedgerUnavailable:
            return  # it will be there again, and so will this promotion
        except WhetstoneError as error:
            self._failed(version, previous, error)
            return
        except Exception as error:  # a fault of ours in a task nobody awaits must still be told
            log.exception("loading failed", version=version, slot=slot.name)
            self._failed(version, previous, EngineError(f"loading failed: {type(error).__name__}"))
            return
        load_s = time.monotonic() - started
        self._engine_failures.pop(version, None)
        metrics.swap_load_seconds.observe(load_s)
        if live and version == self._goal():
            self._serving = prepared
            self._point(slot, load_s, previous)
        else:
            self._traffic.refresh()
            self._note(version, "staged", previous, load_s=load_s)

    async def _exchange(self, slot: Slot, prepared: Prepared) -> None:
        """Give the only slot new weights while callers wait; what fails its checks is replaced by the old ones."""
        before = self._serving
        with self._traffic.shut():
            try:
                await self._loader.put(slot, prepared, serving=True)
            except (SwapFailed, EngineError):
                if before is not None and slot.state == "failed" and slot.engine is not None and not slot.engine.dead:
                    await self._loader.put(slot, before, serving=True)
                raise
            finally:
                if slot.state != "ready":
                    self._traffic.point(None)  # so that `reconcile` fills the slot anew

    def _point(self, slot: Slot, load_s: float, previous: str | None = None) -> None:
        """Move the pointer, then tell of it."""
        previous = self._traffic.live_version if previous is None else previous
        in_flight = self._traffic.point(slot)
        self._last = slot.version
        metrics.swaps_total.labels("live").inc()
        self._note(slot.version, "live", previous, load_s=load_s, in_flight=in_flight)
        log.info("swapped", version=slot.version, previous=previous, slot=slot.name, load_s=load_s, in_flight=in_flight)

    def _bury_dead(self) -> None:
        """Empty slots whose engine died; a live one takes the pointer with it, so that `reconcile` acts."""
        for slot in self._slots:
            if slot.engine is None or not slot.engine.dead or slot.state not in ("ready", "failed"):
                continue
            reason = slot.fault or "died"
            log.error("an engine died", slot=slot.name, version=slot.version, reason=reason)
            metrics.engine_restarts_total.labels(slot.name, reason).inc()
            if slot is self._traffic.live_slot:
                self._traffic.point(None)
            engine = slot.take_out()
            if engine is not None:
                self._close(engine)
            self._traffic.refresh()

    def _close(self, engine: Engine) -> None:
        closing = asyncio.create_task(engine.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _report_breach(self) -> None:
        """End a canary in the ledger that broke its rule here."""
        trial = self._traffic.trial
        if trial is not None and trial.breach and trial.canary == self._view.canary:
            log.error("the canary ends", version=trial.canary.version, reason=trial.breach)
            try:
                await self._registry.end_canary(trial.canary, trial.breach)
            except LedgerUnavailable:
                return  # nobody is routed to it; the ledger hears of it when it is back

    def _failed(self, version: str, previous: str, error: WhetstoneError) -> None:
        """Note a failure and when the version may be tried again."""
        deferred = isinstance(error, SwapDeferred)
        if version == previous:  # it answers elsewhere, so only this slot is at fault
            self._stage_at = time.monotonic() + self._settings.swap_retry_s
            log.error("a slot could not be filled", version=version, reason=str(error))
            return
        self._engine_failures[version] += isinstance(error, EngineError)
        refused = isinstance(error, SwapFailed | NotFound) and not deferred
        if refused or (previous and self._engine_failures[version] >= ENGINE_ATTEMPTS):
            self._retry_at[version] = inf
        else:
            self._retry_at[version] = time.monotonic() + self._settings.swap_retry_s
        trial = self._traffic.trial
        if trial is not None and trial.canary.version == version and self._retry_at[version] == inf:
            trial.breach = trial.breach or f"it was not loaded: {error}"
        state: Literal["deferred", "failed"] = "deferred" if deferred else "failed"
        metrics.swaps_total.labels(state).inc()
        self._note(version, state, previous, error=str(error))
        log.error("not loaded; the old version keeps answering", version=version, previous=previous, reason=str(error))

    def _note(
        self,
        version: str,
        state: Literal["pending", "live", "staged", "deferred", "failed"],
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
        self._registry.note(event)
