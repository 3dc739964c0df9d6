"""Who is given items of which queue: what the routes of labelers ask before they lease anything.

Remembers for a second what operators rarely change (queues, the guidelines in force), so that a lease costs few
questions to the ledger; where a labeler stands is looked at by the lease itself, in the same move.
"""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from feedback import guidelines, queues
from feedback.client import Ledger
from feedback.errors import Forbidden, NotFound
from feedback.leases import Demand
from feedback.records import ApiKey, Guidelines, QueueConfig

KNOWN_S = 1.0
"""Seconds until a change by an operator counts everywhere."""
T = TypeVar("T")


class Known(Generic[T]):
    """A value that is asked for again once it is older than `KNOWN_S`."""

    def __init__(self, ask: Callable[[], T], now: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._now = now
        self._found: tuple[float, T] | None = None

    def get(self) -> T:
        """Return it, at most a second old."""
        found, now = self._found, self._now()
        if found is None or now - found[0] > KNOWN_S:
            found = self._found = now, self._ask()
        return found[1]


class Gate:
    """Lets labelers at queues, or says why not."""

    def __init__(self, ledger: Ledger, *, practice_required: bool) -> None:
        self._practice_required = practice_required
        self._queues = Known(lambda: {**queues.configs(ledger), queues.DEMONSTRATION: requests(ledger)})
        self._guidelines = Known(lambda: guidelines.current(ledger))

    def config(self, name: str) -> QueueConfig:
        """Return a queue's settings.

        Raises:
            NotFound: no such queue.
        """
        found = self._queues.get().get(name)
        if found is None:
            raise NotFound(f"no queue {name!r}")
        return found

    def open_to(self, key: ApiKey) -> list[QueueConfig]:
        """Return the queues that a labeler may take from."""
        return [config for config in self._queues.get().values() if queues.may_take(config, key.skills)]

    def admit(self, key: ApiKey, config: QueueConfig) -> Demand:
        """Return what a labeler must have done before they get an item of a queue; the lease looks whether they did.

        Raises:
            Forbidden: the queue needs a skill that the labeler's key does not have.
        """
        if not queues.may_take(config, key.skills):
            missing = sorted(set(config.needs) - set(key.skills))
            raise Forbidden(f"queue {config.name} needs the skill {', '.join(missing)}; yours lacks it")
        return Demand(to_acknowledge(self.guidelines()), self._practice_required)

    def guidelines(self) -> Guidelines:
        """Return the guidelines in force."""
        return self._guidelines.get()


def requests(ledger: Ledger) -> QueueConfig:
    """Return what holds for requests for demonstrations."""
    return queues.get(ledger, queues.DEMONSTRATION)


def to_acknowledge(current: Guidelines) -> str:
    """Return the version of the guidelines that labelers must have agreed to; empty for none."""
    return current.version if current.must_acknowledge and current.version != guidelines.BUILT_IN else ""
