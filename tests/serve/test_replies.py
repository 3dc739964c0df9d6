import asyncio
import json
from typing import Any

import pytest

from feedback.errors import EngineError
from serve.errors import InvalidRequest
from serve.replies import EngineReply


def play(status: int, *bodies: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> tuple[EngineReply, list[Any]]:
    """Return the reply and what reached the caller when an engine answers so."""
    reached: list[Any] = []

    async def send(message: Any) -> None:
        reached.append(message)

    async def answer() -> EngineReply:
        reply = EngineReply(send, "policy-0007")
        await reply.send({"type": "http.response.start", "status": status, "headers": headers})
        for place, body in enumerate(bodies):
            await reply.send({"type": "http.response.body", "body": body, "more_body": place + 1 < len(bodies)})
        return reply

    return asyncio.run(answer()), reached


def test_a_good_answer_goes_through_stamped_and_without_foreign_headers() -> None:
    headers = ((b"content-type", b"text/event-stream"), (b"server", b"vllm"), (b"access-control-allow-origin", b"*"))
    reply, reached = play(200, b"a", b"b", headers=headers)
    assert reply.failure is None
    assert reached[0]["headers"] == [(b"content-type", b"text/event-stream"), (b"x-policy-version", b"policy-0007")]
    assert [message["body"] for message in reached[1:]] == [b"a", b"b"]


def test_a_refusal_is_kept_back_and_read() -> None:
    body = json.dumps({"error": {"message": "top_p is odd\nTraceback", "param": "top_p", "code": 400}}).encode()
    reply, reached = play(400, body[:10], body[10:])
    assert reached == []
    assert isinstance(reply.failure, InvalidRequest)
    assert (str(reply.failure), reply.failure.param, reply.failure.status) == ("top_p is odd", "top_p", 400)


def test_a_prompt_that_is_too_long_has_openais_code() -> None:
    reply, _ = play(400, b'{"error": {"message": "This model\'s maximum context length is 512 tokens."}}')
    assert isinstance(reply.failure, InvalidRequest)
    assert reply.failure.code == "context_length_exceeded"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": 5}'])
def test_an_unreadable_refusal_is_still_a_refusal(body: bytes) -> None:
    assert isinstance(play(422, body)[0].failure, InvalidRequest)


def test_a_failure_of_the_engine_tells_nothing_of_it() -> None:
    reply, reached = play(500, b'{"error": {"message": "object at 0x7f"}}')
    assert reached == []
    assert isinstance(reply.failure, EngineError)
    assert "0x7f" not in str(reply.failure)
