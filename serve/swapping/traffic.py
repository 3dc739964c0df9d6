"""Which slot answers which model name: one pointer, moved between two requests, and a canary's share beside it.

A request keeps the slot that it entered, whatever the pointer does meanwhile. Driven from one event loop; knows no
HTTP and no ledger (the aliases and the canary are told to it).
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from feedback import metrics
from feedback.errors import EngineError, Overloaded, UnknownModel
from feedback.records import Canary
from serve.engines.slot import Slot, SlotState
from serve.swapping.canary import Outcome, Trial

ALIASES = ("live", "previous", "candidate")
PROBE_S = 5.0
"""Seconds that the live slot may take for one token."""
HELD_RETRY_S = 5.0
"""When a caller who waited for new weights in vain should ask again."""


class Traffic:
    """The pointer and the aliases over a fixed set of slots."""

    def __init__(self, slots: Sequence[Slot], gate_wait_s: float = 30.0) -> None:
        self._slots = tuple(slots)
        self._live: Slot | None = None
        self._aliases: Mapping[str, str] = {}
        self._gate_wait_s = gate_wait_s
        self._open = asyncio.Event()
        self._open.set()
        self._shut_at = 0.0
        self.trial: Trial | None = None
        """The canary, while one runs."""

    @property
    def slots(self) -> list[SlotState]:
        """What each slot looks like now."""
        return [slot.look() for slot in self._slots]

    @property
    def live_version(self) -> str:
        """The version that answers as ``live``; empty if none does."""
        return self._live.version if self._live is not None else ""

    @property
    def live_slot(self) -> Slot | None:
        """The slot that answers as ``live``."""
        return self._live

    @property
    def answering(self) -> bool:
        """True if a request for ``live`` would be answered, or waits for new weights that will answer it."""
        if not self._open.is_set():
            return time.monotonic() - self._shut_at < self._gate_wait_s
        slot = self._live
        return slot is not None and slot.state == "ready" and slot.engine is not None and not slot.engine.dead

    def choose(self, name: str) -> Slot:
        """Return the slot that answers ``name``; enter it before the event loop turns.

        Args:
            name: an alias or an immutable version.

        Raises:
            EngineError: ``live`` is asked for and no slot is live.
            UnknownModel: no slot holds it; lists what is held.
        """
        if name == "live":
            if self._live is None:
                raise EngineError("no policy is live yet")
            return self._live
        slot = self.holding(self._named(name) if name in ALIASES else name)
        if slot is None:
            shown = name if len(name) <= 64 else f"{name[:61]}..."
            raise UnknownModel(f"no model {shown!r} is loaded here; loaded are: {', '.join(self.names()) or 'none'}")
        return slot

    async def enter(self, name: str, sticky: str) -> Slot:
        """Return the slot that answers ``name`` for this caller; hold it before the event loop turns.

        While the only slot takes new weights, callers wait here. ``live`` may be answered by the canary; an immutable
        version is always answered by itself.

        Args:
            name: an alias or an immutable version.
            sticky: whose choice this is (a conversation or a key): the same text gets the same version.

        Raises:
            EngineError: ``live`` is asked for and no slot is live.
            UnknownModel: no slot holds it.
            Overloaded: the wait for new weights took longer than ``gate_wait_s``.
        """
        if not self._open.is_set():
            await self._wait_for_the_gate()
        if name == "live" and self.trial is not None and self.trial.takes(sticky):
            slot = self.holding(self.trial.canary.version)
            if slot is not None:
                return slot
        return self.choose(name)

    async def _wait_for_the_gate(self) -> None:
        try:
            async with asyncio.timeout(self._gate_wait_s):
                while not self._open.is_set():
                    await self._open.wait()
        except TimeoutError as error:
            raise Overloaded("new weights are being loaded; ask again in a moment", HELD_RETRY_S) from error

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Let nobody enter until the block ends; callers wait."""
        self._open.clear()
        self._shut_at = time.monotonic()
        try:
            yield
        finally:
            self._open.set()

    def holding(self, version: str) -> Slot | None:
        """Return the ready slot that holds ``version``, the live one first."""
        candidates = sorted(self._slots, key=lambda slot: slot is not self._live)
        return next(
            (slot for slot in candidates if version and slot.version == version and slot.state == "ready"), None
        )

    def idle(self, keep: Sequence[str] = ()) -> list[Slot]:
        """Return the slots that are not live and not being changed: where to load next, best first.

        A running engine takes new weights in milliseconds to seconds, an empty slot has to start one.

        Args:
            keep: versions that are wanted warm, the most wanted first.
        """

        def missed(slot: Slot) -> tuple[bool, int, int]:
            return slot.engine is None, -self._rank(slot, keep), slot.in_flight

        return sorted((slot for slot in self._slots if slot is not self._live and not slot.changing), key=missed)

    def spare(self, keep: Sequence[str]) -> Slot | None:
        """Return an idle slot that holds none of the wanted versions (or another one's double)."""
        return next((slot for slot in self.idle(keep) if self._rank(slot, keep) == len(keep)), None)

    def _rank(self, slot: Slot, keep: Sequence[str]) -> int:
        return keep.index(slot.version) if slot.version in keep and self.holding(slot.version) is slot else len(keep)

    def names(self) -> Iterator[str]:
        """Yield the names that `choose` would accept now: aliases, then versions."""
        held = {slot.version for slot in self._slots if slot.state == "ready" and slot.version}
        if self.live_version in held:
            yield "live"
        for alias in ALIASES[1:]:
            if self._named(alias) in held:
                yield alias
        yield from sorted(held)

    def _named(self, alias: str) -> str:
        """Return the version behind an alias; a canary is also a ``candidate`` where the trainer's is not loaded."""
        version = self._aliases.get(alias, "")
        if alias == "candidate" and self.trial is not None and self.holding(version) is None:
            return self.trial.canary.version
        return version

    def know(self, aliases: Mapping[str, str], canary: Canary | None = None) -> None:
        """Take over what the ledger says of aliases (``live`` moves only by `point`) and of the canary."""
        if canary != (self.trial.canary if self.trial is not None else None):
            self.trial = Trial(canary) if canary is not None else None
            metrics.canary_share.clear()
            if canary is not None:
                metrics.canary_share.labels(canary.version).set(canary.share)
            self.refresh()
        if aliases != self._aliases:
            self._aliases = dict(aliases)
            self.refresh()

    def outcome(self, version: str, ok: bool, empty: bool, latency_s: float) -> None:
        """Take in how an answer went: a canary that does markedly worse than live gets no more callers.

        Args:
            version: who answered.
            ok: False if the answer failed by our fault.
            empty: the answer has no text.
            latency_s: from the request to its last byte.
        """
        if self.trial is None or self.trial.breach:
            return
        self.trial.note(version, self.live_version, Outcome(not ok or empty, latency_s))
        if self.trial.breach:
            metrics.canary_breaches_total.inc()
            metrics.canary_share.labels(self.trial.canary.version).set(0)

    def point(self, slot: Slot | None) -> int:
        """Let ``slot`` answer as live from the next request on; return how many the old one still answers."""
        old, self._live = self._live, slot
        self.refresh()
        return old.in_flight if old is not None and old is not slot else 0

    async def probe(self) -> None:
        """Generate one token on the live slot, before customers.

        While the gate is shut the callers who wait will be answered, so for the time that they may wait all is well.

        Raises:
            EngineError: there is none, or it cannot.
        """
        if not self._open.is_set() and self.answering:
            return
        await self.choose("live").prove(PROBE_S)

    def refresh(self) -> None:
        """Publish which slot holds what; called wherever that changed."""
        metrics.slot_version.clear()
        named = {version: alias for alias, version in self._aliases.items() if alias != "live"}
        if self.trial is not None:
            named[self.trial.canary.version] = "canary"
        for slot in self._slots:
            if slot.version:
                alias = "live" if slot is self._live else named.get(slot.version, "")
                metrics.slot_version.labels(slot.name, slot.version, alias).set(1)
