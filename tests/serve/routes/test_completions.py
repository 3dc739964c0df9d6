"""What goes through the door in front of an engine, and what does not."""

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from feedback import access
from serve.engines.base import TRANSCRIPTS
from tests.serve.routes.door import BODY, PATH, Door, body_of, say_yes

pytestmark = pytest.mark.redis


def test_the_engine_gets_the_exact_version_and_nothing_of_the_callers_headers(door: Door) -> None:
    answer = door.ask(**{"Origin": "http://evil", "X-Request-Id": "mine"})
    seen = answer.json()
    assert seen["body"] == {"messages": BODY["messages"], "temperature": 0.0, "model": "policy-0001", "priority": 0}
    assert seen["headers"] == ["content-type", "x-request-id"]
    assert answer.headers["x-policy-version"] == "policy-0001"
    assert answer.headers["x-request-id"].startswith("chatcmpl-")


def test_an_answer_is_recorded_with_what_the_engine_said(door: Door) -> None:
    answer = door.ask()
    (record,) = door.logged()
    assert record.id == answer.headers["x-request-id"]
    assert (record.completion, record.finish_reason, record.prompt_tokens, record.completion_tokens) == (
        "yes",
        "stop",
        3,
        1,
    )
    assert (record.customer, record.policy_version, record.sampling) == ("alice", "policy-0001", {"temperature": 0.0})


@pytest.mark.parametrize("said", ["no", "NO", " no "])
def test_the_header_narrows_consent(door: Door, said: str) -> None:
    assert door.ask(**{"X-Whetstone-Consent": said}).status_code == 200
    assert door.logged() == []


def test_the_header_cannot_widen_consent(door: Door) -> None:
    private = access.create(door.ledger, "client", "bob", consent=False)[0]
    assert door.ask(private, **{"X-Whetstone-Consent": "yes"}).status_code == 200
    assert door.logged() == []


def test_a_header_that_is_neither_yes_nor_no_is_refused(door: Door) -> None:
    assert door.ask(**{"X-Whetstone-Consent": "maybe"}).status_code == 400


def test_an_answer_of_other_weights_than_its_stamp_is_not_logged(door: Door) -> None:
    async def mixed(scope: Scope, receive: Receive, send: Send) -> None:
        await say_yes(scope, receive, send, ("policy-0001", "policy-0002"))

    door.engine_app = mixed
    door.ask()
    assert door.logged() == []


def test_an_engine_that_fails_is_a_503_in_our_words_and_is_not_logged(door: Door) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"object at 0x7f00"})

    door.engine_app = broken
    answer = door.ask()
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "engine_unavailable"
    assert "0x7f" not in answer.text
    assert answer.headers["retry-after"]
    assert door.logged() == []


@pytest.mark.parametrize("begun", [False, True])
def test_a_request_inside_an_engine_that_is_given_up_is_told_so(door: Door, begun: bool) -> None:
    async def closed(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})
        door.slot.engine.dead = True  # type: ignore[union-attr, misc]
        raise RuntimeError("cannot schedule new futures after shutdown")

    door.engine_app = closed
    answer = door.ask()
    assert answer.status_code == (200 if begun else 503)
    last = answer.text.strip().split("\n\n")[-1].removeprefix("data: ")
    assert json.loads(last)["error"]["code"] == "engine_unavailable"
    assert "futures" not in answer.text
    assert door.logged() == []


def test_a_fault_in_an_engine_that_lives_is_not_passed_over(door: Door) -> None:
    async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("a fault of ours")

    door.engine_app = faulty
    with pytest.raises(RuntimeError, match="a fault of ours"):  # what answers it with a bare 500 raises it again
        door.ask()


def test_the_slot_counts_the_request_until_its_last_byte(door: Door) -> None:
    seen = []

    async def watching(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(door.slot.in_flight)
        await say_yes(scope, receive, send)
        seen.append(door.slot.in_flight)

    door.engine_app = watching
    door.ask()
    assert [*seen, door.slot.in_flight] == [1, 1, 0]


def test_feedback_may_come_while_the_answer_is_still_being_given(door: Door) -> None:
    pending = []

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        id = "chatcmpl-" + dict(scope["headers"])[b"x-request-id"].decode()
        pending.append(door.recorder.pending(id))
        await say_yes(scope, receive, send)

    door.engine_app = asked
    door.ask()
    assert pending[0] is not None
    assert pending[0].customer == "alice"


def test_a_caller_who_leaves_reaches_the_engine_and_is_recorded_as_broken_off(door: Door) -> None:
    async def cut(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        (said,) = TRANSCRIPTS.get() or []
        said.text, said.completion_tokens = "ye", 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert (await receive())["type"] == "http.disconnect"

    door.engine_app = cut
    messages = iter([{"type": "http.request", "body": json.dumps(BODY).encode()}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        pass

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": PATH, "raw_path": PATH.encode(), "query_string": b"", "root_path": "", "client": None, "server": None,
        "headers": [(b"authorization", f"Bearer {door.key}".encode()), (b"content-type", b"application/json"),
            (b"host", b"here")],
    }  # fmt: skip
    asyncio.run(door.app(scope, receive, send))
    (record,) = door.logged()
    assert (record.completion, record.finish_reason) == ("ye", "aborted")
