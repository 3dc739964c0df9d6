"""Who is calling: the bearer key of a request, checked against the ledger through a short cache.

Knows keys and roles; does not know what a route does. Usable from pure ASGI (`authenticate`) and as a FastAPI
dependency (`require`).
"""

import asyncio
import time
from collections.abc import Callable
from threading import Lock

from starlette.datastructures import Headers
from starlette.requests import Request

from feedback import access
from feedback.client import Ledger
from feedback.errors import Forbidden, InvalidKey, LedgerUnavailable
from feedback.records import ApiKey, utc_now

MAX_SECRET_CHARS = 200
"""Longer bearer tokens are refused unread; ours have about 55 characters."""
DOWN_S = 2.0
"""After the ledger failed to answer, known keys are served from the cache for this long before it is asked again."""


class KeyCache:
    """Keys by secret, each asked for again after ``ttl_s``, which bounds how long a revoked key still works.

    Only keys that the ledger confirmed are kept, so strangers cannot fill the cache. While the ledger is down, known
    keys keep working (until they expire) and unknown ones cannot be judged.
    """

    def __init__(self, ledger: Ledger, ttl_s: float = 15.0, now: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._ttl_s = ttl_s
        self._now = now
        self._known: dict[str, tuple[ApiKey, float]] = {}
        self._down_until = 0.0
        self._lock = Lock()

    def cached(self, secret: str) -> ApiKey | None:
        """Return the key if it was confirmed within the time to live; never touches the network.

        Raises:
            InvalidKey: it expired since.
        """
        known = self._known.get(access.hash_secret(secret))
        if known is None or self._now() - known[1] > self._ttl_s:
            return None
        access.check_usable(known[0], utc_now())
        return known[0]

    def find(self, secret: str) -> ApiKey:
        """Return the key that ``secret`` opens, from the cache or the ledger (blocking).

        Raises:
            InvalidKey: no such key, or it is revoked or expired.
            LedgerUnavailable: the ledger is down and this key was not seen before.
        """
        fresh = self.cached(secret)
        if fresh is not None:
            return fresh
        digest = access.hash_secret(secret)
        known = self._known.get(digest)
        if known is not None and self._now() < self._down_until:
            access.check_usable(known[0], utc_now())
            return known[0]
        try:
            key = access.find(self._ledger, secret)
        except LedgerUnavailable:
            self._down_until = self._now() + DOWN_S
            if known is None:
                raise
            access.check_usable(known[0], utc_now())
            return known[0]
        except InvalidKey:
            with self._lock:
                self._known.pop(digest, None)
            raise
        with self._lock:
            self._known[digest] = (key, self._now())
        return key


def authenticate(headers: Headers, roles: tuple[str, ...], keys: KeyCache) -> ApiKey:
    """Return the key of a request if its role is one of ``roles`` (blocking on a cache miss).

    Raises:
        InvalidKey: no bearer key, several, or not a usable one.
        Forbidden: the key's role is not among ``roles``.
        LedgerUnavailable: the key is unknown here and the ledger is down.
    """
    return allowed(keys.find(bearer(headers)), roles)


async def authenticate_async(headers: Headers, roles: tuple[str, ...], keys: KeyCache) -> ApiKey:
    """Do as `authenticate` without blocking the event loop; a cached key costs no thread."""
    secret = bearer(headers)
    key = keys.cached(secret)
    if key is None:
        key = await asyncio.to_thread(keys.find, secret)
    return allowed(key, roles)


def bearer(headers: Headers) -> str:
    """Return the secret of the one ``Authorization: Bearer`` header.

    Raises:
        InvalidKey: the header is missing, doubled, of another scheme, or holds nothing that could be a key of ours.
    """
    found = headers.getlist("authorization")
    if len(found) != 1:
        raise InvalidKey("send exactly one header `Authorization: Bearer ws-...`")
    scheme, _, secret = found[0].partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise InvalidKey("send the API key as `Authorization: Bearer ws-...`")
    if len(secret) > MAX_SECRET_CHARS or not secret.startswith(f"{access.PREFIX}-"):
        raise InvalidKey("no such API key; ours begin with ws-")
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
    """Return a FastAPI dependency that yields the caller's key, or refuses."""

    def caller(request: Request) -> ApiKey:
        return authenticate(request.headers, roles, keys)

    return caller
