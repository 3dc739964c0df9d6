"""The ledger as hot swapping sees it: where the aliases point, the canary, one policy, swap events, the heartbeat.

Every call runs in one thread of its own with a short timeout, so that a ledger that is down or slow delays nothing but
this; events wait here until it is back. A second thread waits for the next move of an operator, so that a move is seen
at once; where that wait fails, looking every few moments remains.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from feedback import canary, keys, metrics, policies, promotion
from feedback.client import Ledger
from feedback.errors import Conflict, LedgerUnavailable
from feedback.log import get
from feedback.records import Canary, Policy, SwapEvent
from serve.engines.slot import SlotState
from serve.recording.memory import Memory

TIMEOUT_S = 1.0
WAIT_S = 0.5
"""Longest single wait for a move; below `TIMEOUT_S`, or waiting would look like a dead ledger."""
HEARTBEAT_S = 5.0
HEARTBEAT_TTL_S = 15
MAX_EVENTS = 1000
"""Events kept while the ledger is down; beyond this the oldest are lost."""
GUARD = "guard"
"""Who ends a canary that misbehaves, in the audit."""
log = get(__name__)


@dataclass(frozen=True)
class View:
    """What operators want, as the ledger says."""

    aliases: dict[str, str] = field(default_factory=dict)
    canary: Canary | None = None


class Registry:
    """Reads and writes for one replica."""

    def __init__(
        self,
        url: str,
        replica: str,
        artifact_root: Path,
        slots: Callable[[], list[SlotState]],
        memory: Memory | None = None,
    ) -> None:
        self._ledger = Ledger(url, TIMEOUT_S)
        self._memory = memory or Memory(Path(), 0)
        self._heard = False
        """The ledger answered since this process started."""
        self._replica = replica
        self._root = artifact_root
        self._slots = slots
        self._events: deque[SwapEvent] = deque(maxlen=MAX_EVENTS)
        self._known: dict[str, Policy] = {}
        """Policies looked up before; their records never change."""
        self._beat_at = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="registry")
        self._waiter = ThreadPoolExecutor(1, thread_name_prefix="registry-wait")
        self._seen = ""
        """The last entry of the audit that `changed` told of."""
        self._closing = Event()

    def note(self, event: SwapEvent) -> "Future[None]":
        """Write an event in the background, or keep it for a later `look` if the ledger is down."""
        self._events.append(event)
        return self._thread.submit(self._try_to_send)

    async def look(self) -> View | None:
        """Return what operators want, or None while the ledger is down; also sends events and the heartbeat."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look)

    def _look(self) -> View | None:
        try:
            if not self._seen:
                with suppress(LedgerUnavailable):  # without it a move is seen at the next look
                    self._seen = self._last_move()
            view = View(policies.aliases(self._ledger), canary.running(self._ledger))
            self._send()
            if time.monotonic() - self._beat_at >= HEARTBEAT_S:
                self._beat()
        except LedgerUnavailable:
            metrics.ledger_up.set(0)
            remembered = None if self._heard else self._memory.aliases()
            return View(remembered) if remembered else None
        metrics.ledger_up.set(1)
        self._heard = True
        self._memory.learn_aliases(view.aliases)
        return view

    def _last_move(self) -> str:
        with self._ledger.reach() as client:
            found = client.xrevrange(keys.AUDIT, count=1)
        return str(found[0][0]) if found else "0"

    async def changed(self, within_s: float) -> None:
        """Return as soon as somebody moved something in the ledger, at the latest after ``within_s``."""
        await asyncio.get_running_loop().run_in_executor(self._waiter, self._wait, within_s)

    def _wait(self, within_s: float) -> None:
        until = time.monotonic() + within_s
        try:
            while self._seen and not self._closing.is_set() and (left := until - time.monotonic()) > 0:
                with self._ledger.reach() as client:
                    found = client.xread({keys.AUDIT: self._seen}, block=max(1, int(min(left, WAIT_S) * 1000)))
                if found:
                    self._seen = str(found[0][1][-1][0])
                    return
        except LedgerUnavailable:
            pass  # down, or this user may not read the audit; either way a look follows
        except Exception:  # a wait that fails at once must not become a busy loop
            log.exception("waiting for a move failed")
        self._closing.wait(max(0.0, until - time.monotonic()))

    def _send(self) -> None:
        while self._events:
            promotion.record_swap(self._ledger, self._events[0])
            self._events.popleft()

    def _try_to_send(self) -> None:
        with suppress(LedgerUnavailable):
            self._send()

    def _beat(self) -> None:
        slots = [
            {"slot": s.slot, "version": s.version, "state": s.state, "in_flight": s.in_flight} for s in self._slots()
        ]
        with self._ledger.reach() as client:
            client.set(keys.replica(self._replica), json.dumps({"slots": slots}), ex=HEARTBEAT_TTL_S)
        self._beat_at = time.monotonic()

    async def policy(self, version: str) -> tuple[Policy, Path]:
        """Return a policy and where its directory is.

        Raises:
            NotFound: no such policy.
            LedgerUnavailable: the ledger is down, and this policy was not looked up before.
        """
        if version not in self._known:
            loop = asyncio.get_running_loop()
            self._known[version] = await loop.run_in_executor(self._thread, self._policy, version)
        policy = self._known[version]
        path = Path(policy.path)
        return policy, path if path.is_absolute() or path.is_dir() else self._root / path

    def _policy(self, version: str) -> Policy:
        try:
            policy = policies.get(self._ledger, version)
        except LedgerUnavailable:
            remembered = self._memory.policy(version)
            if remembered is None:
                raise
            return remembered
        self._memory.learn_policy(policy)
        return policy

    async def end_canary(self, judged: Canary, reason: str) -> None:
        """End the canary that was judged; one that ended or changed in the meantime is left alone.

        Raises:
            LedgerUnavailable: the ledger is down; nothing was ended.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end_canary, judged, reason)

    def _end_canary(self, judged: Canary, reason: str) -> None:
        with suppress(Conflict):
            canary.end(self._ledger, GUARD, reason, only=judged)

    def close(self) -> None:
        """Stop; what is under way gets its short timeout."""
        self._closing.set()
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._waiter.shutdown(wait=False, cancel_futures=True)
