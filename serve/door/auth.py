"""Who is calling: the bearer key or browser session of a request, and whether its role is let in.

Knows headers and roles; does not know what a route does. Usable from pure ASGI (`authenticate_async`) and as a FastAPI
dependency (`require`).
"""

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import Request

from feedback import access, sessions
from feedback.errors import Forbidden, InvalidKey
from feedback.records import ApiKey
from serve.door.keycache import KeyCache
from serve.door.sessions import SAFE_METHODS, check_intended, from_cookie
from serve.errors import InvalidRequest

MAX_SECRET_CHARS = 200
"""Longer bearer tokens are refused unread; ours have about 60 characters."""


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
    """Return a FastAPI dependency that yields the caller's key, or refuses.

    Its ``roles`` tell who is let in; its ``later`` does the same without blocking the event loop.
    """

    def caller(request: Request) -> ApiKey:
        return authenticate(request.headers, roles, keys, safe=request.method in SAFE_METHODS)

    async def later(request: Request) -> ApiKey:
        return await authenticate_async(request.headers, roles, keys, safe=request.method in SAFE_METHODS)

    caller.roles = later.roles = roles  # type: ignore[attr-defined]
    caller.later = later  # type: ignore[attr-defined]
    return caller
