import asyncio
import json
from typing import Any

import pytest

from feedback.errors import DeadlinePassed, EngineError
from serve.answering.replies import EngineReply
from serve.errors import InvalidRequest


def play(
    status: int, *bodies: bytes, headers: tuple[tuple[bytes, bytes], ...] = (), shown: str = ""
) -> tuple[EngineReply, list[Any]]:
    """Return the reply and what reached the caller when an engine answers so; the record is noted as "on disk"."""
    reached: list[Any] = []

    async def send(message: Any) -> None:
        reached.append(message)

    async def record() -> None:
        reached.append("on disk")

    async def answer() -> EngineReply:
        reply = EngineReply(send, "policy-0007", record, shown=shown, headers=[(b"x-more", b"1")])
        await reply.send({"type": "http.response.start", "status": status, "headers": headers})
        for place, body in enumerate(bodies):
            await reply.send({"type": "http.response.body", "body": body, "more_body": place + 1 < len(bodies)})
        return reply

    return asyncio.run(answer()), reached


def said(reached: list[Any]) -> list[Any]:
    """Return the bodies that reached the caller and when the record was on disk."""
    return [each if each == "on disk" else each["body"] for each in reached[1:]]


def test_a_good_answer_goes_through_stamped_and_without_foreign_headers() -> None:
    headers = ((b"content-type", b"text/event-stream"), (b"server", b"vllm"), (b"access-control-allow-origin", b"*"))
    reply, reached = play(200, b"a", b"b", headers=headers)
    assert reply.failure is None
    stamp = [(b"x-more", b"1"), (b"x-policy-version", b"policy-0007")]
    assert reached[0]["headers"] == [(b"content-type", b"text/event-stream"), *stamp]
    assert said(reached) == [b"a", "on disk", b"b"]
    assert reply.ended


def test_the_end_of_a_stream_leaves_when_the_record_is_on_disk_and_that_is_waited_for_once() -> None:
    _, reached = play(200, b"data: {}\n\n", b"data: [DONE]\n\n", b"")
    assert said(reached) == [b"data: {}\n\n", "on disk", b"data: [DONE]\n\n", b""]


def test_a_hidden_version_shows_nowhere() -> None:
    body = b'{"id":"x","model":"policy-0007","choices":[]}'
    headers = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
    _, reached = play(200, body, headers=headers, shown="battle-1-a")
    assert (b"x-policy-version", b"battle-1-a") in reached[0]["headers"]
    assert b"content-length" not in dict(reached[0]["headers"])
    assert said(reached) == ["on disk", b'{"id":"x","model":"battle-1-a","choices":[]}']


def test_a_failure_in_the_middle_of_a_stream_is_told_in_our_words() -> None:
    _, reached = play(200, b"data: {}\n\n", b'data: {"error": {"message": "object at 0x7f"}}\n\n', b"")
    event = said(reached)[1]
    assert event.startswith(b"data: {")
    assert json.loads(event[6:])["error"]["code"] == "engine_unavailable"
    assert b"0x7f" not in event


def test_a_stream_that_broke_off_is_ended_with_the_reason() -> None:
    reached: list[Any] = []

    async def send(message: Any) -> None:
        reached.append(message)

    async def record() -> None:
        raise AssertionError("nothing is recorded here")

    async def answer() -> None:
        reply = EngineReply(send, "policy-0007", record)
        await reply.send({"type": "http.response.start", "status": 200, "headers": []})
        await reply.end(DeadlinePassed("not complete within 1 s"))

    asyncio.run(answer())
    assert not reached[-1]["more_body"]
    assert json.loads(reached[-1]["body"][6:])["error"]["code"] == "deadline_passed"


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


def test_a_prompt_that_leaves_no_room_is_too_long_too() -> None:
    reply, _ = play(400, b'{"error": {"message": "max_tokens must be at least 1, got 0."}}')
    assert isinstance(reply.failure, InvalidRequest)
    assert reply.failure.code == "context_length_exceeded"
    assert "context length" in str(reply.failure)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": 5}'])
def test_an_unreadable_refusal_is_still_a_refusal(body: bytes) -> None:
    assert isinstance(play(422, body)[0].failure, InvalidRequest)


def test_a_failure_of_the_engine_tells_nothing_of_it() -> None:
    reply, reached = play(500, b'{"error": {"message": "object at 0x7f"}}')
    assert reached == []
    assert isinstance(reply.failure, EngineError)
    assert "0x7f" not in str(reply.failure)
