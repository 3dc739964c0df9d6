"""Answers of an engine: stamped and passed on at once; its errors become ours."""

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message

from feedback.errors import EngineError
from serve.errors import InvalidRequest
from serve.replies import EngineReply


def play(status: int, *chunks: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> tuple[list[Message], Any]:
    """Let an engine answer so; return what the caller was sent and the reply."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> EngineReply:
        reply = EngineReply(send, "policy-0003")
        await reply.send({"type": "http.response.start", "status": status, "headers": headers or []})
        for place, chunk in enumerate(chunks):
            more = place + 1 < len(chunks)
            before = len(sent)
            await reply.send({"type": "http.response.body", "body": chunk, "more_body": more})
            assert status >= 400 or len(sent) == before + 1, "a chunk was held back"
        return reply

    return sent, asyncio.run(run())


def test_a_good_answer_is_stamped_and_goes_through_chunk_by_chunk() -> None:
    sent, reply = play(200, b"data: 1\n\n", b"data: 2\n\n", headers=[(b"content-type", b"text/event-stream")])
    assert (b"x-policy-version", b"policy-0003") in sent[0]["headers"]
    assert (b"content-type", b"text/event-stream") in sent[0]["headers"]
    assert [message["body"] for message in sent[1:]] == [b"data: 1\n\n", b"data: 2\n\n"]
    assert reply.failure is None


def test_headers_that_tell_of_the_engine_are_not_passed_on() -> None:
    sent, _ = play(200, b"{}", headers=[(b"server", b"engine"), (b"x-request-id", b"inner")])
    assert [name for name, _ in sent[0]["headers"]] == [b"x-policy-version"]


def test_an_error_of_the_engine_is_kept_from_the_caller_and_retold() -> None:
    body = json.dumps({"error": {"message": "top_p must be below 1", "param": "top_p"}}).encode()
    sent, reply = play(400, body[:10], body[10:])
    assert sent == []
    assert isinstance(reply.failure, InvalidRequest)
    assert (reply.failure.param, reply.failure.status) == ("top_p", 400)


def test_a_prompt_that_is_too_long_has_openais_code() -> None:
    body = json.dumps({"error": {"message": "This model's maximum context length is 64 tokens."}}).encode()
    _, reply = play(400, body)
    assert isinstance(reply.failure, InvalidRequest)
    assert reply.failure.code == "context_length_exceeded"


@pytest.mark.parametrize("body", [b"", b"oops", b"[]", b'{"error": "text"}', b"\xff"])
def test_an_unreadable_error_is_still_an_error(body: bytes) -> None:
    _, reply = play(422, body)
    assert isinstance(reply.failure, InvalidRequest)
    assert reply.failure.status == 400


def test_a_failure_of_the_engine_tells_nothing_of_it() -> None:
    _, reply = play(500, b'{"error": {"message": "Traceback: /opt/engine.py"}}')
    assert isinstance(reply.failure, EngineError)
    assert "engine.py" not in str(reply.failure)
