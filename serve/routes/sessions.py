"""``/v1/sessions``: a browser signs in with a key, asks who it is, and signs out.

The key is sent once; from then on a cookie that no script can read stands for it. The CSRF token is given here and
nowhere else, to pages of the same origin only.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Meta

from feedback import access, sessions
from feedback.errors import InvalidKey
from feedback.records import ApiKey
from serve.asking.schemas import Body, body, described
from serve.dependencies import Dependencies
from serve.door.auth import MAX_SECRET_CHARS, allowed, require
from serve.door.sessions import PATH, check_origin, clear_cookie, from_cookie, set_cookie

ROLES = ("client", "labeler", "operator")
"""Those who have a page."""


class SessionIn(Body, frozen=True, kw_only=True):
    """The key that a person signs in with."""

    key: Annotated[str, Meta(min_length=1, max_length=MAX_SECRET_CHARS)]


def make_router(deps: Dependencies) -> APIRouter:
    """Return the session routes."""
    router = APIRouter(prefix=PATH, tags=["sessions"])
    settings = deps.settings

    @router.post("", status_code=201, openapi_extra=described(SessionIn))
    def sign_in(
        request: Request, response: Response, given: Annotated[SessionIn, Depends(body(SessionIn))]
    ) -> dict[str, Any]:
        """Open a session and hand it to the browser as a cookie; a session that it had before ends."""
        check_origin(request.headers, required=False)
        key = allowed(access.find(deps.ledger, given.key.strip()), ROLES)
        secret, session = sessions.open_session(
            deps.ledger, key, idle_s=settings.session_idle_s, longest_s=settings.session_longest_s
        )
        _end(deps, request)
        deps.keys.learn(secret, key, session.ends_at)
        set_cookie(response, secret, longest_s=settings.session_longest_s, secure=request.url.scheme == "https")
        response.headers["Cache-Control"] = "no-store"
        return _shown(key, secret, session.ends_at)

    @router.get("")
    def who(
        request: Request, response: Response, key: Annotated[ApiKey, Depends(require(deps.keys, *ROLES))]
    ) -> dict[str, Any]:
        """Say whose session the cookie is, and the token that requests which change something have to carry."""
        secret = from_cookie(request.headers)
        if secret is None or "authorization" in request.headers:
            raise InvalidKey("no session; sign in")
        response.headers["Cache-Control"] = "no-store"
        return _shown(key, secret, deps.keys.ends_at(secret))

    @router.delete("", status_code=204)
    def sign_out(request: Request, key: Annotated[ApiKey, Depends(require(deps.keys, *ROLES))]) -> Response:
        """End the session, here and on all replicas, and take the cookie back."""
        _end(deps, request)
        response = Response(status_code=204)
        clear_cookie(response, secure=request.url.scheme == "https")
        return response

    return router


def _end(deps: Dependencies, request: Request) -> None:
    secret = from_cookie(request.headers)
    if secret is not None:
        sessions.close(deps.ledger, secret)
        deps.keys.forget(secret)


def _shown(key: ApiKey, secret: str, ends_at: datetime | None) -> dict[str, Any]:
    return {
        "owner": key.owner,
        "role": key.role,
        "key_id": key.id,
        "csrf_token": sessions.csrf_token(secret),
        "ends_at": msgspec.to_builtins(ends_at),
    }
