"""The ledger as hot swapping sees it: where the aliases point, one policy, swap events, the heartbeat.

Every call runs in one thread of its own with a short timeout, so that a ledger that is down or slow delays nothing but
this; events wait here until it is back.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from feedback import keys, metrics, policies, promotion
from feedback.client import Ledger
from feedback.errors import LedgerUnavailable
from feedback.records import Policy, SwapEvent
from serve.engines.slot import SlotState
from serve.memory import Memory

TIMEOUT_S = 1.0
HEARTBEAT_S = 5.0
HEARTBEAT_TTL_S = 15
MAX_EVENTS = 1000
"""Events kept while the ledger is down; beyond this the oldest are lost."""


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
        self._beat_at = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="registry")

    async def note(self, event: SwapEvent) -> None:
        """Write an event, or keep it for a later `look` if the ledger is down."""
        self._events.append(event)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._try_to_send)

    async def look(self) -> dict[str, str] | None:
        """Return alias -> version, or None while the ledger is down; also sends events and the heartbeat."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look)

    def _look(self) -> dict[str, str] | None:
        try:
            self._send()
            if time.monotonic() - self._beat_at >= HEARTBEAT_S:
                self._beat()
            aliases = policies.aliases(self._ledger)
        except LedgerUnavailable:
            metrics.ledger_up.set(0)
            return None if self._heard else self._memory.aliases()
        metrics.ledger_up.set(1)
        self._heard = True
        self._memory.learn_aliases(aliases)
        return aliases

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
            LedgerUnavailable: the ledger is down.
        """
        policy = await asyncio.get_running_loop().run_in_executor(self._thread, self._policy, version)
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

    def close(self) -> None:
        """Stop; what is under way gets its short timeout."""
        self._thread.shutdown(wait=False, cancel_futures=True)
