"""What an engine hears of the connection."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from serve.answering.cutoff import Cutoff


def hear(receive: Callable[[], Awaitable[Any]], wait_s: float) -> tuple[Cutoff, list[Any]]:
    """Return the cutoff and the first two things that the engine hears."""

    async def listen() -> tuple[Cutoff, list[Any]]:
        cutoff = Cutoff(b"{}", receive, asyncio.get_running_loop().time() + wait_s)
        return cutoff, [await cutoff.receive(), await asyncio.wait_for(cutoff.receive(), 5)]

    return asyncio.run(listen())


def test_the_body_comes_once_then_the_disconnect_of_a_caller_who_leaves() -> None:
    told = iter([{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(told)

    cutoff, heard = hear(receive, 60)
    assert heard == [{"type": "http.request", "body": b"{}", "more_body": False}, {"type": "http.disconnect"}]
    assert cutoff.left
    assert not cutoff.expired


def test_a_deadline_sounds_to_the_engine_like_a_caller_who_leaves() -> None:
    async def receive() -> Any:
        await asyncio.Event().wait()

    cutoff, heard = hear(receive, 0.01)
    assert heard[1] == {"type": "http.disconnect"}
    assert cutoff.expired
    assert not cutoff.left
