"""The same request twice is answered once: header ``Idempotency-Key``.

A caller who does not know whether its request arrived sends it again under the same key and gets the answer that was
given; another body under that key is refused. Answers are kept in memory for a while, for each owner apart, within a
bound on their bytes; a restart forgets them. Only whole successful answers are kept, so a failure can be tried again.
Knows ASGI messages; nothing of completions.
"""

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message, Scope, Send

from serve.errors import InvalidRequest

HEADER = "Idempotency-Key"
NAME = re.compile(r"[\x21-\x7e]{1,128}")
REPEATED = (b"idempotent-replayed", b"true")
KEPT_S = 600.0
"""Seconds from an answer's end for which it is given again."""
MOST_BYTES = 32 << 20
"""Most bytes kept in all; beyond this the oldest answers are forgotten."""


def name_of(headers: Headers, *, stream: bool) -> str:
    """Return the request's key; empty if it has none.

    Raises:
        InvalidRequest: the key is malformed, or the answer is to be streamed.
    """
    found = headers.getlist(HEADER)
    if not found:
        return ""
    if len(found) > 1 or not NAME.fullmatch(found[0]):
        raise InvalidRequest(f"{HEADER} must be 1 to 128 printable characters, once", HEADER, "invalid_value")
    if stream:
        raise InvalidRequest(f"{HEADER} is for answers that are not streamed", HEADER, "invalid_value")
    return found[0]


@dataclass
class _Kept:
    """One answer, complete once ``done`` is set and there are messages."""

    digest: bytes
    done: asyncio.Event = field(default_factory=asyncio.Event)
    messages: list[Message] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    bytes: int = 0
    until: float = 0.0


class Answers:
    """Answers by owner and key; driven from one event loop."""

    def __init__(
        self, kept_s: float = KEPT_S, most_bytes: int = MOST_BYTES, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._kept_s = kept_s
        self._most_bytes = most_bytes
        self._now = now
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._bytes = 0

    @asynccontextmanager
    async def once(self, owner: str, name: str, body: bytes, scope: Scope, send: Send) -> AsyncIterator[Send | None]:
        """Yield where to send the answer to, or nothing if it was given before and has just been given again.

        While the first request is under way, the second waits for its end.

        Args:
            owner: whose key it is; nobody sees the answers of others.
            name: the key, from `name_of`; empty for a request that has none.
            body: the request's body.
            scope: of the request; its state gets the request id and version of an answer given again.
            send: where answers go.

        Raises:
            InvalidRequest: the key was used for another body (409).
        """
        if not name:
            yield send
            return
        digest = hashlib.sha256(scope["path"].encode() + b"\0" + body).digest()
        while (kept := self._find(owner, name)) is not None:
            if kept.digest != digest:
                message = f"this {HEADER} was used for another request; use a new one"
                raise InvalidRequest(message, HEADER, "idempotency_key_reused", 409)
            await kept.done.wait()
            if kept.messages:
                await _repeat(kept, scope, send)
                yield None
                return
        kept = self._kept[owner, name] = _Kept(digest)
        try:
            yield _keeping(kept, send)
        finally:
            self._end(owner, name, kept, scope)

    def _find(self, owner: str, name: str) -> _Kept | None:
        kept = self._kept.get((owner, name))
        if kept is not None and kept.done.is_set() and kept.until <= self._now():
            self._drop((owner, name))
            return None
        return kept

    def _end(self, owner: str, name: str, kept: _Kept, scope: Scope) -> None:
        """Keep a whole successful answer, forget another; let those who wait for it go on."""
        begun, *rest = kept.messages or [{}]
        whole = bool(rest) and not rest[-1].get("more_body", False)
        if begun.get("status") == 200 and whole and kept.bytes <= self._most_bytes:
            kept.state = {key: value for key, value in scope["state"].items() if key in ("request_id", "version")}
            kept.until = self._now() + self._kept_s
            self._bytes += kept.bytes
            self._kept.move_to_end((owner, name))
        else:
            kept.messages = []
            del self._kept[owner, name]
        kept.done.set()
        for key, each in list(self._kept.items()):
            if self._bytes <= self._most_bytes and not (each.done.is_set() and each.until <= self._now()):
                break
            if each.done.is_set():
                self._drop(key)

    def _drop(self, key: tuple[str, str]) -> None:
        self._bytes -= self._kept.pop(key).bytes

    def forget(self, owner: str) -> None:
        """Forget the answers given to ``owner``."""
        for key in [key for key, kept in self._kept.items() if key[0] == owner and kept.done.is_set()]:
            self._drop(key)


def _keeping(kept: _Kept, send: Send) -> Send:
    async def keep_and_send(message: Message) -> None:
        kept.messages.append({**message})
        kept.bytes += len(message.get("body", b""))
        await send(message)

    return keep_and_send


async def _repeat(kept: _Kept, scope: Scope, send: Send) -> None:
    scope["state"].update(kept.state)
    begun, *rest = kept.messages
    await send({**begun, "headers": [*begun.get("headers", ()), REPEATED]})
    for message in rest:
        await send({**message})
