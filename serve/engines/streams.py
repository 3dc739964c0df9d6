"""Streams of plain chats at a fraction of the processor time: what stays the same from token to token is written once.

For each token vLLM builds three validated objects and serialises them, although in a plain chat (one answer, no tools,
no log-probabilities) only the text differs. Here vLLM's own generator makes the first events and the last ones; the
events between are its first one with another text, byte for byte what it would have said itself.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec

Result = Any
"""A vLLM RequestOutput; this module reads its fields and imports nothing of vLLM."""


def install(chat: Any) -> None:
    """Let vLLM's chat handler stream plain chats the quick way.

    Args:
        chat: an OpenAIServingChat.
    """
    whole = chat.chat_completion_stream_generator

    def stream(request: Any, results: AsyncIterator[Result], *rest: Any, **named: Any) -> AsyncGenerator[str, None]:
        if not plain(chat, request):
            return whole(request, results, *rest, **named)  # type: ignore[no-any-return]  # vLLM is untyped here
        feed: deque[Result | Exception] = deque()
        return _quick(results, feed, whole(request, _given(feed), *rest, **named))

    chat.chat_completion_stream_generator = stream


def plain(chat: Any, request: Any) -> bool:
    """Tell whether only texts differ between the events of this request's stream."""
    options = request.stream_options
    return not (
        (request.n or 1) > 1
        or request.logprobs
        or request.return_token_ids
        or request.echo
        or chat.parser_cls is not None
        or (options is not None and options.continuous_usage_stats)
        or (chat.enable_log_outputs and chat.request_logger)
    )


async def _quick(
    results: AsyncIterator[Result], feed: "deque[Result | Exception]", events: AsyncGenerator[str, None]
) -> AsyncGenerator[str, None]:
    """Yield the stream's events.

    Args:
        results: what the engine gives, piece by piece.
        feed: what ``events`` is to hear of that.
        events: vLLM's generator; asked for an event only when it was fed enough to give one.
    """
    head = tail = ""
    skipped: list[int] = []
    """Ids of the tokens that vLLM's generator was not told of; it counts them with the last piece."""
    try:
        async for result in results:
            output = result.outputs[0]
            if output.finish_reason is not None:
                output.token_ids = [*skipped, *output.token_ids]
                feed.append(result)
                break
            if head:
                skipped += output.token_ids
                yield head + msgspec.json.encode(output.text).decode() + tail
            elif output.text or output.token_ids:
                feed.append(result)
                yield await anext(events)  # the role
                first = await anext(events)
                head, tail = _around(first, output.text)
                yield first
    except Exception as error:
        feed.append(error)  # vLLM's generator knows how to tell callers
    try:
        async for event in events:
            yield event
        async for _ in results:  # to its end, where the engine's books on this request are closed
            pass
    finally:
        await events.aclose()


async def _given(feed: "deque[Result | Exception]") -> AsyncGenerator[Result, None]:
    while feed:
        item = feed.popleft()
        if isinstance(item, Exception):
            raise item
        yield item


def _around(event: str, text: str) -> tuple[str, str]:
    """Return what stands before and behind the text of an event.

    Raises:
        ValueError: the event is not written as expected; vLLM changed.
    """
    before = '"delta":{"content":'
    head, found, tail = event.partition(before + msgspec.json.encode(text).decode())
    if not found:
        raise ValueError(f"an event of vLLM's stream has no {before}")
    return head + before, tail
