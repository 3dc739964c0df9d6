"""Browser sessions over HTTP: the cookie that carries one, and the proof that a request was meant by its owner.

Knows headers; what a session's secret stands for is the ledger's to say.
"""

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response

from feedback.errors import Forbidden
from feedback.sessions import csrf_token

COOKIE = "whetstone_session"
PATH = "/v1/sessions"
SAFE_METHODS = ("GET", "HEAD")
MAX_COOKIE_CHARS = 4096
"""A longer Cookie header holds no session of ours and is not taken apart."""


def from_cookie(headers: Headers) -> str | None:
    """Return the session's secret that the browser sent, or None."""
    text = "; ".join(headers.getlist("cookie"))
    if COOKIE not in text or len(text) > MAX_COOKIE_CHARS:
        return None
    return cookie_parser(text).get(COOKIE)


def check_intended(headers: Headers, secret: str) -> None:
    """Check that a page of ours sent a request that changes something, not a page elsewhere.

    Raises:
        Forbidden: the request comes from another origin, or lacks the session's CSRF token.
    """
    check_origin(headers)
    given = headers.get("x-csrf-token", "").encode(errors="replace")
    if not hmac.compare_digest(given, csrf_token(secret).encode()):
        raise Forbidden("send the session's token in the header X-CSRF-Token; GET /v1/sessions tells it")


def check_origin(headers: Headers, *, required: bool = True) -> None:
    """Check that the header ``Origin`` names the host that was asked.

    Raises:
        Forbidden: it names another one, or it is missing and ``required``.
    """
    origin = headers.get("origin")
    if origin is None and not required:
        return
    parts = urlsplit(origin or "")
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != headers.get("host", "").lower():
        raise Forbidden("this request comes from another origin; the pages send a matching header Origin")


def set_cookie(response: Response, secret: str, *, longest_s: float, secure: bool) -> None:
    """Hand a session to the browser, out of reach of scripts and of other sites' requests."""
    response.set_cookie(
        COOKIE, secret, max_age=int(longest_s), path="/", secure=secure, httponly=True, samesite="strict"
    )


def clear_cookie(response: Response, *, secure: bool) -> None:
    """Take the session from the browser."""
    response.delete_cookie(COOKIE, path="/", secure=secure, httponly=True, samesite="strict")
