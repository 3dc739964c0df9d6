"""Keys and sessions as the ledger confirmed them, remembered for seconds; for longer while the ledger is down.

Knows secrets and what they stand for; knows nothing of requests.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import NamedTuple

from feedback import access, sessions
from feedback.client import Ledger
from feedback.errors import InvalidKey, LedgerUnavailable
from feedback.records import ApiKey, utc_now
from serve.recording.memory import Memory

MAX_KNOWN = 20_000
"""Most secrets in the cache; the one that was asked for longest ago goes first."""
DOWN_S = 2.0
"""After the ledger failed to answer, known keys are served from the cache for this long before it is asked again."""


class Known(NamedTuple):
    """What the ledger said of a secret."""

    key: ApiKey
    ends_at: datetime | None
    """When the session ends whatever happens; None for a key."""
    asked_s: float

    def check(self) -> ApiKey:
        """Return the key.

        Raises:
            InvalidKey: the session ended since, or the key expired.
        """
        now = utc_now()
        if self.ends_at is not None and self.ends_at <= now:
            raise InvalidKey("the session ended; sign in again")
        access.check_usable(self.key, now)
        return self.key


class KeyCache:
    """Keys by secret (a key's own or a session's), each asked for again after ``ttl_s``.

    That bounds how long a revoked key still works. Only secrets that the ledger confirmed are kept, so strangers cannot
    fill the cache. While the ledger is down, known keys and sessions keep working (until they expire), keys that an
    earlier process knew do for a while, and others cannot be judged.
    """

    def __init__(
        self,
        ledger: Ledger,
        ttl_s: float = 15.0,
        now: Callable[[], float] = time.monotonic,
        *,
        session_idle_s: float = 7200.0,
        memory: Memory | None = None,
    ) -> None:
        self._ledger = ledger
        self._ttl_s = ttl_s
        self._now = now
        self._session_idle_s = session_idle_s
        self._known: dict[str, Known] = {}
        self._used: dict[str, int] = {}
        self._memory = memory
        self._down = False
        """The ledger did not answer when it was asked last."""
        self._down_until = 0.0
        self._asking: set[str] = set()
        self._lock = Lock()

    def cached(self, secret: str) -> ApiKey | None:
        """Return the key if it was confirmed within the time to live; never touches the network.

        Raises:
            InvalidKey: it expired since.
        """
        known = self._known.get(access.hash_secret(secret))
        if known is None or self._now() - known.asked_s > self._ttl_s:
            return None
        return self._counted(known.check())

    def find(self, secret: str) -> ApiKey:
        """Return the key that ``secret`` opens, from the cache or the ledger (blocking).

        Raises:
            InvalidKey: no such key or session, or the key is revoked, expired or not yet valid.
            LedgerUnavailable: the ledger is down and this key was not seen before.
        """
        fresh = self.cached(secret)
        if fresh is not None:
            return fresh
        digest = access.hash_secret(secret)
        known = self._known.get(digest) or self._recalled(digest)
        if known is None or self._now() >= self._down_until:
            try:
                known = self._ask(secret)
                self._down = False
                self._remember(digest, known)
            except LedgerUnavailable:
                self._down, self._down_until = True, self._now() + DOWN_S
                if known is None:
                    raise
                with self._lock:
                    self._known.setdefault(digest, known)
            except InvalidKey:
                self.forget(secret)
                raise
        return self._counted(known.check())

    def stale(self, secret: str) -> ApiKey | None:
        """Return a key whose time is over, if it may open one more request while the ledger is asked: `refresh` does.

        That is for as long again as the time to live, or for as long as the ledger is known to be down.
        """
        known = self._known.get(access.hash_secret(secret))
        if known is None or (not self._down and self._now() - known.asked_s > 2 * self._ttl_s):
            return None
        return self._counted(known.check())

    def refresh(self, secret: str) -> None:
        """Ask the ledger for a key anew (blocking), unless somebody does, or it did not answer a moment ago."""
        if secret in self._asking or (self._down and (self._asking or self._now() < self._down_until)):
            return
        self._asking.add(secret)
        try:
            self.find(secret)
        except (InvalidKey, LedgerUnavailable):
            return  # the next request finds out
        finally:
            self._asking.discard(secret)

    def learn(self, secret: str, key: ApiKey, ends_at: datetime) -> None:
        """Take over a session that was opened here a moment ago, so that it works even if the ledger goes now."""
        self._remember(access.hash_secret(secret), Known(key, ends_at, self._now()))

    def ends_at(self, secret: str) -> datetime | None:
        """Return when a session that was just found ends, whatever happens."""
        known = self._known.get(access.hash_secret(secret))
        return known.ends_at if known is not None else None

    def forget(self, secret: str) -> None:
        """Ask the ledger again before this secret opens anything."""
        digest = access.hash_secret(secret)
        with self._lock:
            self._known.pop(digest, None)
        if self._memory is not None:
            self._memory.forget_key(digest)

    def flush_used(self) -> None:
        """Tell the ledger which keys were used since the last time (blocking); lost when it is down."""
        used, self._used = self._used, {}
        access.note_used(self._ledger, used)

    def _ask(self, secret: str) -> Known:
        if secret.startswith(f"{sessions.PREFIX}-"):
            key, ends_at = sessions.find(self._ledger, secret, self._session_idle_s)
            return Known(key, ends_at, self._now())
        return Known(access.find(self._ledger, secret), None, self._now())

    def _recalled(self, digest: str) -> Known | None:
        """Return what an earlier process knew of a secret; asked for at once, so it counts only without the ledger."""
        key = self._memory.key(digest) if self._memory is not None else None
        return Known(key, None, self._now() - self._ttl_s) if key is not None else None

    def _remember(self, digest: str, known: Known) -> None:
        if self._memory is not None and known.ends_at is None:
            self._memory.learn_key(digest, known.key)
        with self._lock:
            self._known.pop(digest, None)
            self._known[digest] = known
            if len(self._known) > MAX_KNOWN:
                del self._known[next(iter(self._known))]

    def _counted(self, key: ApiKey) -> ApiKey:
        self._used[key.id] = int(time.time())
        return key


async def keep_used(keys: KeyCache, every_s: float) -> None:
    """Tell the ledger from time to time when keys were last used, beside all requests; runs until cancelled."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await asyncio.to_thread(keys.flush_used)
        except LedgerUnavailable:
            continue  # coarse by design: the next use is told
