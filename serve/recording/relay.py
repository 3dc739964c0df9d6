"""The relay: from the spool to the ledger, in batches, at least once; the ledger makes it exactly once by id.

A ledger that does not answer is left alone for a growing time; nothing else waits for it. A record that the ledger can
never take is put aside in a file beside the spool, so that it blocks no other.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from feedback import interactions, metrics, tombstones
from feedback.client import Ledger, decode
from feedback.errors import InvalidRecord, LedgerUnavailable
from feedback.log import get
from feedback.records import Interaction
from serve.recording.frames import Frame
from serve.recording.refused import Refused
from serve.recording.spool import Spool

RELAY_TIMEOUT_S = 0.25
"""Longest that the relay's calls to the ledger should wait."""
BATCH_RECORDS = 128
BATCH_BYTES = 256 << 10
LINGER_S = 0.1
"""From the first record that is to be relayed to the first batch."""
PAUSE = 2.0
"""How long the relay rests after a batch, in times of what it took: a long drain leaves the processor to answers."""
TIDY_S = 1.0
"""Idle time after which files are deleted whose records the ledger has."""
STOP_S = 3.0
"""Longest that a call under way is waited for at the end."""
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.05, 2.0
CHECK_S = 60.0
"""Longest idle time until the next tidying."""
log = get(__name__)


class Relay:
    """One thread that empties a spool into a ledger."""

    def __init__(
        self,
        spool: Spool,
        ledger: Ledger,
        on_gone: Callable[[Iterable[str]], None],
        *,
        keep_s: int,
        max_age_s: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Bind a spool to a ledger.

        Args:
            spool: what to empty.
            ledger: where to; its own timeout should be `RELAY_TIMEOUT_S`.
            on_gone: is told the ids of records that left the spool, whatever became of them.
            keep_s: seconds for which the ledger keeps an interaction under its id.
            max_age_s: records that were written longer ago are dropped.
            now: unix time.
        """
        self._spool = spool
        self._ledger = ledger
        self._on_gone = on_gone
        self._refused = Refused(spool.directory, max_age_s, now)
        self._keep_s = keep_s
        self._max_age_s = max_age_s
        self._now = now
        self._most = BATCH_RECORDS
        self._failures = 0
        self._damaged_bytes = spool.damaged_bytes
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._empty = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool-relay", daemon=True)

    def start(self) -> None:
        """Begin relaying."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something to relay."""
        self._empty.clear()
        self._awake.set()

    def close(self, deadline_s: float) -> bool:
        """Relay what is left for up to ``deadline_s``, then stop; tell whether the thread has ended."""
        if self._thread.is_alive():
            self._awake.set()
            self._empty.wait(deadline_s)
            self._stopping.set()
            self._awake.set()
            self._thread.join(STOP_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                busy = self.step()
            except LedgerUnavailable as error:
                self._back_off(error)
            except Exception:  # a fault of ours must not end relaying for good while answering goes on
                log.exception("relaying failed")
                self._stopping.wait(MAX_BACKOFF_S)
            else:
                if busy:
                    self._stopping.wait(PAUSE * (time.monotonic() - began))
                else:
                    self._idle()

    def step(self) -> bool:
        """Relay one batch; tell whether there was one.

        Raises:
            LedgerUnavailable: the ledger does not answer; the batch stays in the spool.
        """
        self._awake.clear()
        frames = self._spool.peek(self._most, BATCH_BYTES)
        self._count_damage()
        if not frames:
            return False
        old = sum(frame.written_at < self._now() - self._max_age_s for frame in frames)
        if old:  # frames are in the order of writing
            metrics.recorded_total.labels("dropped").inc(old)
            metrics.recorded_dropped_total.labels("old").inc(old)
            log.error("interactions waited too long for the ledger and were dropped", count=old)
            self._leave(frames[:old])
            return True
        self._deliver(frames)
        self._leave(frames)
        self._failures, self._most = 0, BATCH_RECORDS
        return True

    def _deliver(self, frames: Sequence[Frame]) -> None:
        readable: list[tuple[Interaction, str]] = []
        sent: list[Frame] = []
        unreadable: list[tuple[Frame, str]] = []
        for frame in frames:
            try:
                readable.append((decode(frame.payload, Interaction), frame.payload.decode()))
                sent.append(frame)
            except InvalidRecord as error:  # written by another version of this program
                unreadable.append((frame, str(error)))
        outcomes = interactions.append_many(self._ledger, readable, self._keep_s)
        for frame, outcome in zip(sent, outcomes, strict=True):
            if isinstance(outcome, InvalidRecord):
                unreadable.append((frame, str(outcome)))
            else:
                metrics.recorded_total.labels(outcome).inc()
        for frame, reason in unreadable:
            self._put_aside(frame, reason)

    def _leave(self, frames: Sequence[Frame]) -> None:
        self._spool.done(len(frames))
        self._on_gone(frame.id for frame in frames)
        metrics.spool_bytes.set(self._spool.size_bytes)

    def _back_off(self, error: LedgerUnavailable) -> None:
        """Leave the ledger alone for a while; then try with one record, which a slow ledger takes sooner than many."""
        if not self._failures:
            log.warning("the ledger does not answer; interactions wait in the spool", reason=str(error))
        self._failures += 1
        self._most = 1
        ceiling = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(self._failures, 10))
        self._stopping.wait(ceiling * random.uniform(0.5, 1.0))

    def _idle(self) -> None:
        self._empty.set()
        if not self._awake.wait(TIDY_S):
            self._tidy()
            self._awake.wait(CHECK_S)
        # Answers that end together are followed by requests that begin together; the interpreter is theirs first.
        self._stopping.wait(LINGER_S)

    def _count_damage(self) -> None:
        new = self._spool.damaged_bytes - self._damaged_bytes
        if new:
            self._damaged_bytes += new
            metrics.spool_repaired_bytes_total.labels("damaged").inc(new)
            log.error("a part of the spool is damaged", damaged_bytes=new)

    def _put_aside(self, frame: Frame, reason: str) -> None:
        metrics.recorded_total.labels("refused").inc()
        kept = self._refused.add(frame.id, reason, frame.payload)
        log.error("the ledger cannot take an interaction", id=frame.id, reason=reason, put_aside=kept)

    def _tidy(self) -> None:
        """Delete what is done, and of what was put aside what is old or of an erased customer."""
        self._spool.tidy()
        metrics.spool_bytes.set(self._spool.size_bytes)
        with suppress(LedgerUnavailable):
            self._refused.tidy(lambda: tombstones.read(self._ledger).by_customer)
