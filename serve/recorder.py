"""The recorder: answered prompts go to the spool at once and from there to the ledger.

The answer never waits for either. Two threads: one writes and syncs the spool in groups, one relays to the ledger,
at least once, which the ledger makes exactly once by id. Who may be recorded is decided by the caller.
"""

import threading
import time
from queue import Empty, Full, Queue

from feedback import interactions, metrics
from feedback.client import Ledger, decode, encode
from feedback.errors import InvalidRecord, LedgerUnavailable
from feedback.log import get
from feedback.records import Interaction
from serve.spool import Spool

GROUP_S = 0.010
"""How long a first record waits for others to share its fsync."""
GROUP_RECORDS = 64
QUEUE_RECORDS = 10_000
"""Records that may wait for the disk; beyond this they are dropped and counted, never the answer delayed."""
IDLE_S = 0.05
"""Pause of the relay when there is nothing to do."""
MAX_BACKOFF_S = 2.0
log = get(__name__)


class Recorder:
    """Takes interactions from the event loop; owns the spool and its two threads."""

    def __init__(self, spool: Spool, ledger: Ledger) -> None:
        self._spool = spool
        self._ledger = ledger
        self._queue: Queue[Interaction] = Queue(QUEUE_RECORDS)
        self._pending: dict[str, Interaction] = {}
        self._closing = threading.Event()
        self._stop_relay = threading.Event()
        self._writer = threading.Thread(target=self._write_all, name="spool-writer", daemon=True)
        self._relay = threading.Thread(target=self._relay_all, name="spool-relay", daemon=True)
        if spool.torn_bytes:
            log.warning("spool had a torn tail", torn_bytes=spool.torn_bytes)

    def start(self) -> None:
        """Start writing and relaying, beginning with what an earlier process left in the spool."""
        self._writer.start()
        self._relay.start()

    def begin(self, draft: Interaction) -> None:
        """Remember an interaction that is being answered, so that feedback on it is recognised."""
        self._pending[draft.id] = draft

    def forget(self, id: str) -> None:
        """Drop an interaction that came to nothing."""
        self._pending.pop(id, None)

    def finish(self, interaction: Interaction) -> None:
        """Hand over a finished interaction; returns at once."""
        self._pending[interaction.id] = interaction
        try:
            self._queue.put_nowait(interaction)
        except Full:
            self._drop([interaction], "the queue to the disk is full")

    def pending(self, id: str) -> Interaction | None:
        """Return an interaction that is being answered or on its way to the ledger, else None."""
        return self._pending.get(id)

    def close(self, deadline_s: float = 5.0) -> None:
        """Write what is queued to disk, relay for up to ``deadline_s``, let go; the rest goes at the next start.

        Safe to call twice.
        """
        self._closing.set()
        self._writer.join()
        until = time.monotonic() + deadline_s
        while time.monotonic() < until and self._pending and self._relay.is_alive():
            time.sleep(IDLE_S)
        self._stop_relay.set()
        self._relay.join(timeout=deadline_s)
        if not self._relay.is_alive():
            self._spool.close()

    def _write_all(self) -> None:
        while not (self._closing.is_set() and self._queue.empty()):
            group = self._gather()
            if group:
                self._write(group)

    def _gather(self) -> list[Interaction]:
        """Return the next group of records, or nothing after a short wait."""
        try:
            group = [self._queue.get(timeout=IDLE_S)]
        except Empty:
            return []
        until = time.monotonic() + GROUP_S
        while len(group) < GROUP_RECORDS and (left_s := until - time.monotonic()) > 0:
            try:
                group.append(self._queue.get(timeout=left_s))
            except Empty:
                break
        return group

    def _write(self, group: list[Interaction]) -> None:
        try:
            kept = self._spool.append([(each.id, encode(each).encode()) for each in group])
        except OSError as error:
            self._drop(group, f"the disk refused: {error}")
            return
        metrics.recorded_total.labels("spooled").inc(kept)
        metrics.spool_bytes.set(self._spool.size_bytes)
        if kept < len(group):
            self._drop(group[kept:], "the spool is full")

    def _drop(self, group: list[Interaction], reason: str) -> None:
        for each in group:
            self._pending.pop(each.id, None)
        metrics.recorded_total.labels("dropped").inc(len(group))
        log.error("interactions were answered but not logged", count=len(group), reason=reason)

    def _relay_all(self) -> None:
        backoff_s = IDLE_S
        while not self._stop_relay.is_set():
            try:
                found = self._spool.peek()
                if found is None:
                    self._stop_relay.wait(IDLE_S)
                    continue
                self._relay_one(*found)
                self._spool.done()
                backoff_s = IDLE_S
            except LedgerUnavailable:
                self._stop_relay.wait(backoff_s)
                backoff_s = min(MAX_BACKOFF_S, backoff_s * 2)
        metrics.spool_bytes.set(self._spool.size_bytes)

    def _relay_one(self, id: str, payload: bytes) -> None:
        try:
            interactions.append(self._ledger, decode(payload, Interaction))
            metrics.recorded_total.labels("relayed").inc()
        except InvalidRecord as error:  # written by another version of this program; it would block all others
            metrics.recorded_total.labels("dropped").inc()
            log.error("a spooled interaction is unreadable", id=id, reason=str(error))
        self._pending.pop(id, None)
