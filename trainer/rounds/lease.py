"""The right to run rounds, held by one trainer and renewed by a thread of its own.

A round's stages, copies and snapshots may each take longer than the right lasts, so nothing in a round has to renew it.
Knows the lease and its fencing number; does not know rounds.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from feedback import log, metrics, rounds
from feedback.client import Ledger
from feedback.errors import LedgerUnavailable

logger = log.get(__name__)


class Lease:
    """One trainer's right to run rounds.

    Attributes:
        token: tells this trainer from any other.
        number: fencing number of what was held last; 0 before the first time. Every write carries it.
        held: whether the right is held, as far as this trainer knows.
    """

    def __init__(self, ledger: Ledger, ttl_s: int = 60) -> None:
        """Hold nothing yet; the right, once taken, lasts ``ttl_s`` seconds without a renewal."""
        self.ledger, self.ttl_s = ledger, ttl_s
        self.token, self.number = uuid.uuid4().hex, 0
        self.held = False

    def take(self) -> bool:
        """Take or renew the right; False if another trainer holds it.

        Raises:
            LedgerUnavailable: nobody can say.
        """
        number = rounds.hold(self.ledger, self.token, self.ttl_s, self.number)
        if self.held and number != self.number:
            metrics.round_lease_lost_total.inc()
            logger.warning("another trainer took over", number=self.number)
        self.number = number or self.number
        self.held = bool(number)
        return self.held

    @contextmanager
    def kept(self) -> Iterator[int]:
        """Renew the right in the background; yields its number. ``held`` turns False for good when it is lost."""
        done, number = threading.Event(), self.number
        thread = threading.Thread(target=self._renew, args=(done, number), name="lease", daemon=True)
        thread.start()
        try:
            yield number
        finally:
            done.set()
            thread.join()

    def let_go(self) -> None:
        """Give the right back, so that another trainer need not wait for its end."""
        self.held = False
        rounds.let_go(self.ledger, self.token)

    def _renew(self, done: threading.Event, number: int) -> None:
        while not done.wait(self.ttl_s / 4):
            try:
                if not self.take() or self.number != number:
                    self.held = False
                    return
            except LedgerUnavailable as error:  # the fence decides, once the ledger is back, whether it was too long
                logger.warning("lease not renewed", error=str(error))
