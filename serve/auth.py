"""Who is calling: the bearer key or browser session of a request, checked against the ledger through a short cache.

Knows keys, sessions and roles; does not know what a route does. Usable from pure ASGI (`authenticate_async`) and as a
FastAPI dependency (`require`).
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.requests import Request

from feedback import access, sessions
from feedback.client import Ledger
from feedback.errors import Forbidden, InvalidKey, LedgerUnavailable
from feedback.records import ApiKey, utc_now
from serve.errors import InvalidRequest
from serve.memory import Memory
from serve.sessions import SAFE_METHODS, check_intended, from_cookie

MAX_SECRET_CHARS = 200
"""Longer bearer tokens are refused unread; ours have about 60 characters."""
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


def authenticate(headers: Headers, roles: tuple[str, ...], keys: KeyCache, *, safe: bool = False) -> ApiKey:
    """Return the key of a request if its role is one of ``roles`` (blocking on a cache miss).

    Args:
        headers: of the request.
        roles: those that are let in.
        keys: where secrets are looked up.
        safe: True if the request changes nothing, so that a session's cookie is enough.

    Raises:
        InvalidKey: no bearer key and no session, or not a usable one.
        InvalidRequest: several Authorization headers.
        Forbidden: the key's role is not among ``roles``, or a session's request was not made by a page of ours.
        LedgerUnavailable: the key is unknown here and the ledger is down.
    """
    secret, by_cookie = credentials(headers)
    return _admitted(keys.find(secret), headers, roles, secret if by_cookie and not safe else None)


async def authenticate_async(headers: Headers, roles: tuple[str, ...], keys: KeyCache, *, safe: bool = False) -> ApiKey:
    """Do as `authenticate` without blocking the event loop; a cached key costs no thread."""
    secret, by_cookie = credentials(headers)
    key = keys.cached(secret)
    if key is None and (key := keys.stale(secret)) is not None:
        asyncio.get_running_loop().run_in_executor(None, keys.refresh, secret)
    if key is None:
        key = await asyncio.to_thread(keys.find, secret)
    return _admitted(key, headers, roles, secret if by_cookie and not safe else None)


def _admitted(key: ApiKey, headers: Headers, roles: tuple[str, ...], session: str | None) -> ApiKey:
    if session is not None:
        check_intended(headers, session)
    return allowed(key, roles)


def credentials(headers: Headers) -> tuple[str, bool]:
    """Return the request's secret and whether it came in a browser's cookie; a bearer key goes before the cookie.

    Raises:
        InvalidKey: there is none, or it could not be one of ours.
        InvalidRequest: several Authorization headers.
    """
    session = None if "authorization" in headers else from_cookie(headers)
    if session is None:
        return bearer(headers), False
    if not session.startswith(f"{sessions.PREFIX}-") or len(session) > MAX_SECRET_CHARS:
        raise InvalidKey("no such session; sign in")
    return session, True


def bearer(headers: Headers) -> str:
    """Return the secret of the one ``Authorization: Bearer`` header.

    Raises:
        InvalidKey: the header is missing, of another scheme, or holds nothing that could be a key of ours.
        InvalidRequest: the header is doubled.
    """
    found = headers.getlist("authorization")
    if len(found) > 1:
        raise InvalidRequest("send exactly one header Authorization", "Authorization", "doubled_header")
    if not found:
        raise InvalidKey("send the API key as `Authorization: Bearer ws-...`")
    scheme, _, secret = found[0].partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise InvalidKey("send the API key as `Authorization: Bearer ws-...`")
    if len(secret) > MAX_SECRET_CHARS or not access.well_formed(secret):
        raise InvalidKey("no such API key; was it copied in full?")
    return secret


def allowed(key: ApiKey, roles: tuple[str, ...]) -> ApiKey:
    """Return the key if its role is one of ``roles``.

    Raises:
        Forbidden: it is not.
    """
    if key.role not in roles:
        raise Forbidden(f"this needs a key of role {' or '.join(roles)}; yours is of role {key.role}")
    return key


def require(keys: KeyCache, *roles: str) -> Callable[[Request], ApiKey]:
    """Return a FastAPI dependency that yields the caller's key, or refuses; its ``roles`` tell who is let in."""

    def caller(request: Request) -> ApiKey:
        return authenticate(request.headers, roles, keys, safe=request.method in SAFE_METHODS)

    caller.roles = roles  # type: ignore[attr-defined]
    return caller
