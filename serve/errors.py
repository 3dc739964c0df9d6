"""From an error to the answer that a caller gets: one table, one envelope.

Knows HTTP statuses and OpenAI's error envelope; knows nothing of what went wrong beyond the error's class. The words
of errors that may name hosts or paths of ours are replaced.
"""

import http
import math
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from feedback import errors
from feedback.log import get

RETRY_AFTER_S = 2
"""When to try again, unless the error knows better."""
log = get(__name__)


class InvalidRequest(errors.DataError):
    """The request's body, query or path is unusable; names the field where there is one."""

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_request", status: int = 400):
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status


class Refused(errors.Conflict):
    """The gate refused a promotion; carries one line per check."""

    def __init__(self, message: str, reasons: list[str]):
        super().__init__(message)
        self.reasons = reasons


class Answer(NamedTuple):
    """How one class of errors is answered."""

    kind: type[errors.WhetstoneError]
    status: int
    type: str
    code: str
    public: str = ""
    """What the caller reads instead of the error's own words, which may name our hosts and paths."""


#: Most specific first; the first class that fits decides.
TABLE = (
    Answer(errors.InvalidKey, 401, "authentication_error", "invalid_api_key"),
    Answer(errors.Forbidden, 403, "permission_error", "forbidden"),
    Answer(errors.Paused, 403, "permission_error", "paused"),
    Answer(InvalidRequest, 400, "invalid_request_error", "invalid_request"),
    Answer(errors.DataError, 400, "invalid_request_error", "invalid_request"),
    Answer(errors.UnknownModel, 404, "invalid_request_error", "model_not_found"),
    Answer(errors.NotFound, 404, "not_found_error", "not_found"),
    Answer(errors.LeaseLost, 409, "conflict_error", "lease_lost"),
    Answer(errors.MustAcknowledge, 409, "conflict_error", "must_acknowledge"),
    Answer(errors.MustPractise, 409, "conflict_error", "must_practise"),
    Answer(Refused, 409, "conflict_error", "gate_refused"),
    Answer(errors.Conflict, 409, "conflict_error", "conflict"),
    Answer(
        errors.LedgerUnavailable,
        503,
        "unavailable_error",
        "ledger_unavailable",
        "the ledger does not answer; nothing was stored, try again in a moment",
    ),
    Answer(errors.TooManyLeases, 429, "rate_limit_error", "too_many_leases"),
    Answer(errors.DailyCapReached, 429, "rate_limit_error", "daily_cap"),
    Answer(
        errors.NotDurable,
        503,
        "unavailable_error",
        "ledger_not_durable",
        "no answers are taken for now, because they might be lost; keep yours and send it again later",
    ),
    Answer(errors.RateLimited, 429, "rate_limit_error", "rate_limit_exceeded"),
    Answer(errors.DeadlinePassed, 504, "timeout_error", "deadline_passed"),
    Answer(errors.Overloaded, 503, "unavailable_error", "overloaded"),
    Answer(errors.ServingError, 503, "unavailable_error", "engine_unavailable", "the model does not answer for now"),
)


def envelope(message: str, type: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    """Return OpenAI's error body."""
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def describe(error: errors.WhetstoneError) -> tuple[int, dict[str, Any]]:
    """Return HTTP status and body for an error of ours; errors that no caller can cause are a bare 500."""
    found = next((answer for answer in TABLE if isinstance(error, answer.kind)), None)
    if found is None:
        log.error("unexpected error", error=type(error).__name__, message=str(error))
        return 500, SERVER_ERROR
    status, code, param = found.status, found.code, None
    if isinstance(error, InvalidRequest):
        status, code, param = error.status, error.code, error.param
    body = envelope(found.public or str(error), found.type, code, param)
    if isinstance(error, Refused):
        body["error"]["reasons"] = error.reasons
    return status, body


def to_response(error: errors.WhetstoneError) -> JSONResponse:
    """Return the answer for an error of ours."""
    status, body = describe(error)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503, 504):
        wait_s = error.retry_after_s if isinstance(error, errors.Overloaded | errors.RateLimited) else RETRY_AFTER_S
        headers["Retry-After"] = str(max(1, math.ceil(wait_s)))
    return JSONResponse(body, status, headers)


SERVER_ERROR = envelope("something failed on our side; it is logged", "server_error", "internal")
"""Tells nothing of our insides."""


def server_error() -> JSONResponse:
    """Return a bare 500."""
    return JSONResponse(SERVER_ERROR, 500)


def install(app: FastAPI) -> None:
    """Answer every error raised by a route of ``app`` with the envelope."""
    app.add_exception_handler(errors.WhetstoneError, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.WhetstoneError)
    return to_response(error)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = http.HTTPStatus(error.status_code).phrase.lower()
    code = phrase.replace(" ", "_")
    message = f"{request.method} on this path: {phrase}"
    return JSONResponse(envelope(message, "invalid_request_error", code), error.status_code, error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    return JSONResponse(
        envelope(f"{param or 'body'}: {first['msg']}", "invalid_request_error", "invalid_request", param), 400
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("unexpected error", error=type(error).__name__, path=request.scope.get("route_path", ""))
    return server_error()
