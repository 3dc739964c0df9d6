"""What an engine hears of the connection: the checked body, then a disconnect when the caller leaves or time is up.

An engine that hears of a disconnect stops generating; there is no other way to stop it in the middle.
"""

import asyncio

from starlette.types import Message, Receive

DISCONNECT: Message = {"type": "http.disconnect"}


class Cutoff:
    """The ``receive`` that an engine's application is given."""

    def __init__(self, body: bytes, receive: Receive, deadline: float) -> None:
        """Begin to count.

        Args:
            body: what the engine is to read.
            receive: the connection; its own body was read already.
            deadline: moment on the event loop's clock at which the engine is told that the caller left.
        """
        self._body: bytes | None = body
        self._receive = receive
        self._until = deadline
        self.left = False
        """True once the caller closed the connection."""
        self.expired = False
        """True once the deadline passed."""

    async def receive(self) -> Message:
        """Return the body once, then wait for the end."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        try:
            async with asyncio.timeout_at(self._until):
                while (await self._receive())["type"] != "http.disconnect":
                    pass
            self.left = True
        except TimeoutError:
            self.expired = True
        return DISCONNECT
