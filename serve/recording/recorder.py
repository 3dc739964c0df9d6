"""The recorder: answered prompts go to the spool at once and from there to the ledger.

An answer's last bytes wait until its record is on disk, at most `wait_s`; they never wait for the ledger. One thread
writes and syncs: whatever was handed over during one sync shares the next, so a lone record is synced at once and a
crowd costs few syncs. `serve.recording.relay` takes it from there. Who may be recorded is decided by the caller.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Literal, NamedTuple

from feedback import keys, metrics
from feedback.client import Ledger, encode
from feedback.errors import InvalidRecord
from feedback.log import get
from feedback.records import Interaction
from serve.recording.frames import require_fitting
from serve.recording.relay import Relay
from serve.recording.spool import Spool

GROUP_RECORDS = 256
"""Most records that share one fsync."""
QUEUE_RECORDS = 10_000
"""Records that may wait for the disk; beyond this they are dropped and counted."""
PENDING_RECORDS = 10_000
"""Interactions that are remembered until the ledger has them; beyond this the oldest are forgotten, not lost."""
FAILED_S = 1.0
"""How long a disk that refused counts as failing, before it is tried again."""
WhenFull = Literal["drop", "refuse"]
log = get(__name__)


class Waiting(NamedTuple):
    """A record on its way to the disk, and who waits for it."""

    interaction: Interaction
    done: asyncio.Future[bool]


class Recorder:
    """Takes interactions from event loops; owns the spool, its writer's thread and the relay."""

    def __init__(
        self,
        spool: Spool,
        ledger: Ledger,
        *,
        wait_s: float = 0.25,
        when_full: WhenFull = "drop",
        keep_s: int = keys.MONTH_S,
        max_age_s: float = 7 * 24 * 3600.0,
    ) -> None:
        """Bind the spool to the ledger.

        Args:
            spool: where records wait.
            ledger: where they go; with a short timeout.
            wait_s: most seconds that an answer waits for its record to be on disk.
            when_full: what becomes of answers that cannot be logged: served and the record dropped, or refused.
            keep_s: seconds for which the ledger keeps an interaction under its id.
            max_age_s: records that waited for the ledger longer are dropped.
        """
        self._spool = spool
        self._wait_s = wait_s
        self._when_full = when_full
        self._full_bytes = spool.max_bytes - min(spool.max_bytes // 8, 4 << 20)
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._pending: dict[str, Interaction] = {}
        self._failed_at = -FAILED_S
        self._closed = False
        self._writer = threading.Thread(target=self._write_all, name="spool-writer", daemon=True)
        self._relay = Relay(spool, ledger, self._forget_all, keep_s=keep_s, max_age_s=max_age_s)
        metrics.spool_repaired_bytes_total.labels("torn").inc(spool.torn_bytes)
        metrics.spool_repaired_bytes_total.labels("damaged").inc(spool.damaged_bytes)
        metrics.recorded_total.labels("found").inc(spool.found)
        metrics.spool_bytes.set(spool.size_bytes)
        metrics.spool_max_bytes.set(spool.max_bytes)
        if spool.torn_bytes or spool.damaged_bytes:
            log.error("the spool was repaired", torn_bytes=spool.torn_bytes, damaged_bytes=spool.damaged_bytes)

    @property
    def accepts(self) -> bool:
        """Tell whether a new answer may begin: always, unless what cannot be logged shall be refused."""
        if self._when_full == "drop":
            return True
        failing = monotonic() - self._failed_at < FAILED_S
        return not failing and self._spool.size_bytes < self._full_bytes and self._queue.qsize() < QUEUE_RECORDS // 2

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

    def pending(self, id: str) -> Interaction | None:
        """Return an interaction that is being answered or on its way to the ledger, else None."""
        return self._pending.get(id)

    def finish(self, interaction: Interaction) -> asyncio.Future[bool]:
        """Hand over a finished interaction; call from an event loop.

        Returns:
            A future of that loop. It becomes True once the record is on disk; False if it was dropped (and counted), or
            if the disk takes longer than `wait_s`: then the record is counted as late and is still being written.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()
        if self._closed or self._queue.qsize() >= QUEUE_RECORDS:
            self._drop([interaction.id], "closed" if self._closed else "queue")
            done.set_result(False)
            return done
        self._pending[interaction.id] = interaction
        while len(self._pending) > PENDING_RECORDS:
            self._pending.pop(next(iter(self._pending)), None)
        timer = loop.call_later(self._wait_s, _be_late, done)
        done.add_done_callback(lambda _: timer.cancel())
        self._queue.put(Waiting(interaction, done))
        return done

    def close(self, deadline_s: float = 5.0) -> None:
        """Write what is queued to disk, relay for up to ``deadline_s``, let go; the rest goes at the next start.

        Safe to call twice.
        """
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        self._writer.join()
        with suppress(Empty):
            while (late := self._queue.get_nowait()) is not None:
                self._drop([late.interaction.id], "closed")
        if self._relay.close(deadline_s):
            self._spool.close()

    def _write_all(self) -> None:
        ending = False
        while not ending:
            group = [self._queue.get()]
            with suppress(Empty):
                while len(group) < GROUP_RECORDS:
                    group.append(self._queue.get_nowait())
            ending = None in group
            self._write([each for each in group if each is not None])

    def _write(self, group: list[Waiting]) -> None:
        records: list[tuple[str, bytes]] = []
        waiting: list[asyncio.Future[bool]] = []
        spoiled: list[asyncio.Future[bool]] = []
        for interaction, done in group:
            try:
                payload = encode(interaction).encode()
                require_fitting(interaction.id, payload)
                records.append((interaction.id, payload))
                waiting.append(done)
            except InvalidRecord:
                self._drop([interaction.id], "invalid")
                spoiled.append(done)
        kept, reason = self._store(records)
        metrics.recorded_total.labels("spooled").inc(kept)
        metrics.spool_bytes.set(self._spool.size_bytes)
        if kept:
            self._relay.wake()
        if kept < len(records):
            self._drop([id for id, _ in records[kept:]], reason)
        _settle(waiting[:kept], True)
        _settle(waiting[kept:] + spoiled, False)

    def _store(self, records: list[tuple[str, bytes]]) -> tuple[int, str]:
        """Return how many of the records are on disk, and why not the others."""
        try:
            return self._spool.append(records), "full"
        except OSError as error:
            self._failed_at = monotonic()
            with suppress(OSError):  # the log may lie on the same disk
                log.error("the disk of the spool refused", error=str(error))
            return 0, "disk"

    def _drop(self, ids: list[str], reason: str) -> None:
        self._forget_all(ids)
        metrics.recorded_total.labels("dropped").inc(len(ids))
        metrics.recorded_dropped_total.labels(reason).inc(len(ids))
        with suppress(OSError):
            log.error("interactions were answered but not logged", count=len(ids), reason=reason)

    def _forget_all(self, ids: Iterable[str]) -> None:
        for id in ids:
            self._pending.pop(id, None)


def _be_late(done: asyncio.Future[bool]) -> None:
    if not done.done():
        metrics.recorded_total.labels("late").inc()
        done.set_result(False)


def _settle(futures: list[asyncio.Future[bool]], durable: bool) -> None:
    """Resolve futures with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[bool]]] = defaultdict(list)
    for future in futures:
        by_loop[future.get_loop()].append(future)
    for loop, group in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed; nobody waits any more
            loop.call_soon_threadsafe(_resolve, group, durable)


def _resolve(futures: list[asyncio.Future[bool]], durable: bool) -> None:
    for future in futures:
        if not future.done():
            future.set_result(durable)
