"""What an engine's application answers, on its way to the caller: stamped, passed on at once, errors rewritten.

A successful answer goes through chunk by chunk; only its last bytes wait, for as long as it takes to put what was said
on disk. An error's body is collected and put into our envelope, without the engine's own words where these could tell
of our insides.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from starlette.types import Message, Send

from feedback.errors import EngineError, WhetstoneError
from serve.errors import InvalidRequest, describe

ENGINE_HEADERS = (b"content-type", b"content-length", b"cache-control")
"""Headers of the engine's answer that the caller gets."""
DONE = b"data: [DONE]\n\n"
FAULT = b'data: {"error"'
"""How vLLM begins the event that tells of a failure in the middle of a stream."""
Headers = Sequence[tuple[bytes, bytes]]


class EngineReply:
    """The ``send`` that an engine's application is given."""

    def __init__(
        self,
        send: Send,
        version: str,
        before_end: Callable[[], Awaitable[None]],
        *,
        shown: str = "",
        headers: Headers = (),
    ) -> None:
        """Wrap a connection.

        Args:
            send: to the caller.
            version: the policy version that answers.
            before_end: awaited once, before the last bytes of a successful answer leave.
            shown: the name to show instead of the version, which must stay hidden; empty for the version itself.
            headers: more headers for the answer.
        """
        self._send = send
        self._stamp = [*headers, (b"x-policy-version", (shown or version).encode())]
        self._hidden = (_model_field(version), _model_field(shown)) if shown else None
        self._before_end = before_end
        self._error_body = b""
        self.status = 0
        """HTTP status of the engine's answer; 0 before it began."""
        self.ended = False
        """True once the last bytes of a successful answer were handed on."""
        self.failure: WhetstoneError | None = None
        """What the caller has to be told instead of an error answer of the engine."""

    async def send(self, message: Message) -> None:
        """Pass one ASGI message on, or collect it if it belongs to an error."""
        if self.status == 200 and message.get("more_body") and self._hidden is None:
            body = message["body"]
            if not (body.endswith(DONE) or body.startswith(FAULT)):  # most messages of a stream
                await self._send(message)
                return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status < 400:
                await self._send({**message, "headers": self._headers(message.get("headers", ()))})
        elif self.status < 400:
            await self._pass_on(message)
        else:
            self._error_body += message.get("body", b"")
            if not message.get("more_body"):
                self.failure = _failure(self.status, self._error_body)

    async def _pass_on(self, message: Message) -> None:
        body: bytes = message.get("body", b"")
        if body.startswith(FAULT):
            message = {**message, "body": _event(EngineError("the engine failed in the middle of the answer"))}
        elif self._hidden is not None:
            message = {**message, "body": body.replace(*self._hidden)}
        if not self.ended and (not message.get("more_body") or body.endswith(DONE)):
            self.ended = True
            await self._before_end()
        await self._send(message)

    async def end(self, error: WhetstoneError) -> None:
        """End a stream that broke off, with an event that says why."""
        self.ended = True
        await self._send({"type": "http.response.body", "body": _event(error), "more_body": False})

    def _headers(self, given: Headers) -> list[tuple[bytes, bytes]]:
        kept = ENGINE_HEADERS if self._hidden is None else (b"content-type", b"cache-control")
        return [pair for pair in given if pair[0].lower() in kept] + self._stamp


def _model_field(name: str) -> bytes:
    return b'"model":' + msgspec.json.encode(name)


def _event(error: WhetstoneError) -> bytes:
    return b"data: " + msgspec.json.encode(describe(error)[1]) + b"\n\n"


def _failure(status: int, body: bytes) -> WhetstoneError:
    if status >= 500:
        return EngineError(f"the engine answered {status}")
    error = _error_object(body)
    message = str(error.get("message") or "the engine refused the request")
    param = error.get("param")
    if message.startswith("max_tokens must be at least 1"):  # the door lets no such request in: nothing is left over
        message = "the prompt fills the model's maximum context length and leaves no room for an answer"
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
