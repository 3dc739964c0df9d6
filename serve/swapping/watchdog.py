"""Engines that hang: notices by their progress, and ends them so that they are started again.

An engine from which nothing has come for a while is asked for one token, before all customers. Only if that does not
come either it hangs; so neither slow readers nor a full queue look like a fault. A hanging engine does not listen, so
its processes are killed; `serve.swapping.hotswap` finds it dead and starts another.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from feedback.errors import EngineError
from feedback.log import get
from serve.engines.slot import Slot

IDLE_S = 30.0
"""Seconds after which an engine without work is asked for a token."""
TICKS = 20
"""Looks in one ``stall_s``."""
log = get(__name__)


@dataclass
class Pulse:
    """What is known of one engine's progress; times are monotonic seconds."""

    progress: int
    heard_at: float
    looked_at: float
    asked_at: float | None = None

    def look(self, now: float, progress: int, busy: bool, stall_s: float) -> Literal["well", "ask", "hangs"]:
        """Return what to make of the engine now.

        Args:
            now: the present moment.
            progress: a number that grows with everything that the engine gives.
            busy: somebody waits for it.
            stall_s: seconds without progress after which a busy engine hangs, one half of them with a probe inside.
        """
        slept_s = now - self.looked_at - stall_s / 4
        self.looked_at = now
        if slept_s > 0:  # this process did not run, so the engine's answers are not late, they were not fetched
            self.heard_at += slept_s
            self.asked_at = None if self.asked_at is None else self.asked_at + slept_s
        if progress != self.progress:
            self.progress, self.heard_at, self.asked_at = progress, now, None
        elif self.asked_at is None:
            if now - self.heard_at >= (stall_s / 2 if busy else IDLE_S):
                self.asked_at = now
                return "ask"
        elif now - self.asked_at >= stall_s / 2:
            return "hangs"
        return "well"


class Watchdog:
    """Watches all slots from one task."""

    def __init__(self, slots: Sequence[Slot], stall_s: float) -> None:
        self._slots = slots
        self._stall_s = stall_s
        self._pulses: dict[int, Pulse] = {}
        """By the identity of the engine, so that a new engine in a slot starts anew."""
        self._probes: set[asyncio.Task[None]] = set()

    @property
    def silent_s(self) -> float:
        """Seconds since the engine that hangs worst was asked for a token that did not come; 0 if all is well."""
        asked = [pulse.asked_at for pulse in self._pulses.values() if pulse.asked_at is not None]
        return time.monotonic() - min(asked) if asked else 0.0

    @property
    def stuck(self) -> bool:
        """True once an engine has hung for so long that killing it must have failed: only a new process helps."""
        return self.silent_s > 2 * self._stall_s

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                try:
                    await self.look()
                except Exception:  # a fault here must not end the watch
                    log.exception("watching the engines failed")
                await asyncio.sleep(self._stall_s / TICKS)
        finally:
            for probe in self._probes:
                probe.cancel()

    async def look(self) -> None:
        """Look at each engine once."""
        now = time.monotonic()
        watched = {
            id(slot.engine): slot
            for slot in self._slots
            if slot.engine is not None and (slot.state == "ready" or slot.fault)
        }
        self._pulses = {key: pulse for key, pulse in self._pulses.items() if key in watched}
        for key, slot in watched.items():
            assert slot.engine is not None
            if slot.fault:
                continue  # killed; it goes once its end is noticed, and its silence counts until then
            pulse = self._pulses.setdefault(key, Pulse(slot.engine.progress, now, now))
            verdict = pulse.look(now, slot.engine.progress, slot.in_flight > 0, self._stall_s)
            if verdict == "ask":
                probe = asyncio.create_task(self._ask(slot))
                self._probes.add(probe)
                probe.add_done_callback(self._probes.discard)
            elif verdict == "hangs":
                log.error(
                    "an engine hangs and is killed", slot=slot.name, version=slot.version, in_flight=slot.in_flight
                )
                await slot.give_up("stalled")

    async def _ask(self, slot: Slot) -> None:
        with suppress(EngineError):  # silence is what `look` notices
            await slot.prove(self._stall_s)
