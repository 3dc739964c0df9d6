"""Answers are acknowledged only by a ledger that keeps them: looks at its settings now and then, and refuses.

A Redis that was started anew with other settings is seen within `LOOK_S`.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Literal

from feedback import durability
from feedback.client import Ledger
from feedback.errors import LedgerUnavailable, NotDurable
from feedback.log import get

LOOK_S = 2.0
"""Seconds for which a look at the ledger's settings is trusted."""
log = get(__name__)


class Durable:
    """What is known of the ledger's promise."""

    def __init__(
        self, ledger: Ledger, when_not: Literal["refuse", "warn"], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._when_not = when_not
        self._clock = clock
        self._lock = Lock()
        self._until = float("-inf")
        self._faults: list[str] | None = []
        self._said: list[str] | None = []

    def demand(self) -> None:
        """Return if answers may be taken.

        Raises:
            NotDurable: the ledger would acknowledge what it may lose, and such answers are to be refused.
            LedgerUnavailable: it cannot be reached.
        """
        never = self._until == float("-inf")
        if self._clock() >= self._until and self._lock.acquire(blocking=never):  # one looks, the others do not wait
            try:
                self._faults = durability.faults(self._ledger)
                self._until = self._clock() + LOOK_S
                self._say()
            finally:
                self._lock.release()
        if self._faults and self._when_not == "refuse":
            raise NotDurable(f"the ledger may lose what it acknowledges: {'; '.join(self._faults)}")

    def look(self) -> None:
        """Say in the log how it stands, for a process that begins; a ledger that is away is asked again later."""
        with suppress(NotDurable, LedgerUnavailable):
            self.demand()

    def _say(self) -> None:
        if self._faults == self._said:
            return
        self._said = self._faults
        if self._faults is None:
            log.warning("the ledger does not tell its settings; see that it has appendonly yes, appendfsync always")
        elif self._faults:
            log.error("the ledger may lose acknowledged labels", faults=self._faults, labels=self._when_not)
        else:
            log.info("the ledger keeps what it acknowledges")
