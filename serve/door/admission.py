"""Who is answered now, who waits, who is refused: places and tokens, shared fairly between keys.

Decided at the door, before anything is tokenised. Bookkeeping on one event loop; knows no HTTP and no engine.

A place is one sequence that an engine decodes. At most ``max_running`` places are taken at a time and ``max_waiting``
more may wait. While nobody waits, anybody may take what is free; beyond that a key may hold only its fair share: the
whole divided by the keys that hold something and one half, so that a key which was quiet until now always finds room.
Background work leaves a quarter of the places to others.
Waiting requests go in by: customers before background work, then the key with the fewest places, then age.
"""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from feedback import metrics
from feedback.errors import DeadlinePassed, Overloaded, RateLimited, ServingError

RATE_RELEASES = 128
"""Releases over which the service rate is measured."""
MIN_RETRY_S, MAX_RETRY_S = 1.0, 60.0
E = TypeVar("E", bound=ServingError)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a request asks for.

    Attributes:
        owner: whose fair share it counts for (a key's id).
        places: sequences, prompts times n.
        tokens: estimate of prompt and most answer tokens, of all sequences together.
        deadline: moment on the admission's clock by which waiting is pointless, seconds.
        background: give way to everybody else.
    """

    owner: str
    places: int
    tokens: int
    deadline: float
    background: bool = False


@dataclass(eq=False)
class Ticket:
    """One admitted request."""

    wanted: Wanted
    number: int
    leave: Callable[[], None]
    """Give the places back before the block of `Admission.enter` ends; safe to call twice."""
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    left: bool = False


class Admission:
    """The door of one serving process."""

    def __init__(
        self, max_running: int, max_waiting: int, token_budget: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._token_budget = token_budget
        self._now = now
        self._waiting: list[Ticket] = []
        self._running = 0
        self._running_tokens = 0
        self._running_of: Counter[str] = Counter()
        self._held_of: Counter[str] = Counter()
        self._number = 0
        self._released: deque[tuple[float, int]] = deque(maxlen=RATE_RELEASES)
        self._gauges = [metrics.admission_places.labels(state) for state in ("running", "waiting")]
        self.draining = False
        """True once this process is to end: nobody new is admitted."""

    @property
    def in_flight(self) -> int:
        """Places of all requests that were admitted and have not left."""
        return self._held_of.total()

    @asynccontextmanager
    async def enter(self, wanted: Wanted) -> AsyncIterator[Ticket]:
        """Wait for a turn, yield the ticket, and leave when the block ends or the ticket says so.

        Raises:
            RateLimited: at once; the key holds its fair share already.
            Overloaded: at once; no room, or no turn before the deadline is to be expected.
            DeadlinePassed: the turn did not come in time.
        """
        ticket = self._admit(wanted)
        started = self._now()
        try:
            if not ticket.turn.is_set():
                try:
                    await asyncio.wait_for(ticket.turn.wait(), wanted.deadline - started)
                except TimeoutError as error:
                    raise DeadlinePassed("the deadline passed while the request waited for its turn") from error
            metrics.admission_wait_seconds.observe(self._now() - started)
            yield ticket
        finally:
            ticket.leave()

    def _admit(self, wanted: Wanted) -> Ticket:
        places, total = self._places(wanted), self.in_flight
        most = self._max_running + self._max_waiting
        if self.draining:
            raise self._refused("draining", Overloaded("this replica is shutting down; ask again"))
        if wanted.background and total + places > max(1, self._max_running * 3 // 4):
            raise self._refused("background", Overloaded("too busy for background work", self._retry_s(places)))
        if total + places > self._max_running:
            owners = len(self._held_of.keys() | {wanted.owner})
            if self._held_of[wanted.owner] + places > max(1, 2 * most // (2 * owners + 1)):
                message = "too many requests of yours at a time; the rest of the room is kept for others"
                raise self._refused("share", RateLimited(message, self._retry_s(places)))
            if total + places > most:
                raise self._refused("full", Overloaded("all places are taken", self._retry_s(total + places - most)))
            wait_s = self._wait_s(total + places - self._max_running)
            if self._now() + wait_s > wanted.deadline:
                message = f"about {wait_s:.0f} s of waiting, which is beyond the deadline"
                raise self._refused("deadline", Overloaded(message, wait_s))
        self._number += 1
        ticket = Ticket(wanted, self._number, lambda: self._leave(ticket))
        self._held_of[wanted.owner] += places
        self._waiting.append(ticket)
        self._call()
        return ticket

    def _leave(self, ticket: Ticket) -> None:
        if ticket.left:
            return
        ticket.left = True
        wanted, places = ticket.wanted, self._places(ticket.wanted)
        _take_off(self._held_of, wanted.owner, places)
        if ticket.turn.is_set():
            self._running -= places
            self._running_tokens -= min(wanted.tokens, self._token_budget)
            _take_off(self._running_of, wanted.owner, places)
            self._released.append((self._now(), places))
        else:
            self._waiting.remove(ticket)
        self._call()

    def _call(self) -> None:
        """Give the turn to those who fit, in order; who comes next is waited for, so that the large get in too."""
        while self._waiting:
            ticket = min(self._waiting, key=self._order) if len(self._waiting) > 1 else self._waiting[0]
            places, tokens = self._places(ticket.wanted), min(ticket.wanted.tokens, self._token_budget)
            if self._running + places > self._max_running or self._running_tokens + tokens > self._token_budget:
                break
            self._waiting.remove(ticket)
            self._running += places
            self._running_tokens += tokens
            self._running_of[ticket.wanted.owner] += places
            ticket.turn.set()
        self._gauges[0].set(self._running)
        self._gauges[1].set(self.in_flight - self._running)

    def _order(self, ticket: Ticket) -> tuple[bool, int, int]:
        return ticket.wanted.background, self._running_of[ticket.wanted.owner], ticket.number

    def _places(self, wanted: Wanted) -> int:
        return min(wanted.places, self._max_running)

    def _wait_s(self, places: int) -> float:
        """Return how long it takes until so many places were given back, at the present rate; 0 if not known."""
        if len(self._released) < 8:
            return 0.0
        elapsed_s = self._now() - self._released[0][0]
        return places * elapsed_s / sum(count for _, count in self._released)

    def _retry_s(self, places: int) -> float:
        """Return when to ask again; spread, so that those refused together do not come back together."""
        wait_s = self._wait_s(places) * random.uniform(1.0, 2.0)
        return min(MAX_RETRY_S, max(MIN_RETRY_S, wait_s))

    @staticmethod
    def _refused(reason: str, error: E) -> E:
        metrics.refused_total.labels(reason).inc()
        return error


def _take_off(counter: Counter[str], owner: str, places: int) -> None:
    counter[owner] -= places
    if counter[owner] <= 0:
        del counter[owner]
