"""What an engine's application answers, on its way to the caller: stamped, passed on at once, errors rewritten.

A successful answer goes through chunk by chunk. An error's body is collected and put into our envelope, without the
engine's own words where these could tell of our insides.
"""

from typing import Any

import msgspec
from starlette.types import Message, Send

from feedback.errors import EngineError, WhetstoneError
from serve.errors import InvalidRequest

ENGINE_HEADERS = (b"content-type", b"content-length", b"cache-control")
"""Headers of the engine's answer that the caller gets."""


class EngineReply:
    """The ``send`` that an engine's application is given."""

    def __init__(self, send: Send, version: str) -> None:
        self._send = send
        self._version = version.encode()
        self._error_body = b""
        self.status = 0
        """HTTP status of the engine's answer; 0 before it began."""
        self.failure: WhetstoneError | None = None
        """What the caller has to be told instead of an error answer of the engine."""

    async def send(self, message: Message) -> None:
        """Pass one ASGI message on, or collect it if it belongs to an error."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status < 400:
                headers = [pair for pair in message.get("headers", ()) if pair[0].lower() in ENGINE_HEADERS]
                headers.append((b"x-policy-version", self._version))
                await self._send({**message, "headers": headers})
        elif self.status < 400:
            await self._send(message)
        else:
            self._error_body += message.get("body", b"")
            if not message.get("more_body"):
                self.failure = _failure(self.status, self._error_body)


def _failure(status: int, body: bytes) -> WhetstoneError:
    if status >= 500:
        return EngineError(f"the engine answered {status}")
    error = _error_object(body)
    message = str(error.get("message") or "the engine refused the request")
    param = error.get("param")
    too_long = "context length" in message
    return InvalidRequest(
        message.splitlines()[0][:500],
        param=param if isinstance(param, str) else None,
        code="context_length_exceeded" if too_long else "invalid_value",
        status=status if status != 422 else 400,
    )


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
        error = found.get("error", found)
        return error if isinstance(error, dict) else {}
    except (msgspec.MsgspecError, AttributeError):
        return {}
