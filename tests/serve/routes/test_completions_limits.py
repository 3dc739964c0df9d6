"""Turns, deadlines, quotas, priority and hidden versions at the door."""

import json
import time
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from feedback import access
from feedback.errors import EngineError
from serve.engines.base import TRANSCRIPTS
from tests.serve.routes.door import Door, body_of, say_yes

pytestmark = pytest.mark.redis
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}


def wait_for_the_end(streaming: bool) -> Any:
    """Return an engine's application that says nothing more until it hears of a disconnect."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        if streaming:
            await send(START)
            await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"

    return app


def test_an_answer_that_is_not_complete_in_time_is_504(door: Door) -> None:
    door.engine_app = wait_for_the_end(streaming=False)
    began = time.monotonic()
    answer = door.ask(**{"X-Deadline-S": "0.05"})
    assert time.monotonic() - began < 5
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "deadline_passed"
    assert answer.headers["retry-after"]
    assert answer.headers["x-policy-version"] == "policy-0001"
    assert door.logged() == []


def test_a_stream_that_is_not_complete_in_time_ends_with_an_event_that_says_so(door: Door) -> None:
    door.engine_app = wait_for_the_end(streaming=True)
    answer = door.ask(**{"X-Deadline-S": "0.05"})
    assert answer.status_code == 200
    last = answer.text.strip().splitlines()[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "deadline_passed"


def test_a_caller_over_its_requests_a_minute_is_told_when_to_come_back(door: Door) -> None:
    key, _ = access.create(door.ledger, "client", "bob", requests_per_minute=2)
    first = door.ask(key)
    assert (first.headers["x-ratelimit-limit-requests"], first.headers["x-ratelimit-remaining-requests"]) == ("2", "1")
    assert door.ask(key).status_code == 200
    refused = door.ask(key)
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(refused.headers["retry-after"]) <= 31
    assert refused.headers["x-policy-version"] == "policy-0001"
    assert door.ask().status_code == 200


def test_tokens_of_the_day_are_what_was_used_not_what_was_reserved(door: Door) -> None:
    async def four_tokens(scope: Scope, receive: Receive, send: Send) -> None:
        said = (TRANSCRIPTS.get() or [])[0]
        said.sampled_tokens = 1
        await say_yes(scope, receive, send)

    door.engine_app = four_tokens
    key, _ = access.create(door.ledger, "client", "bob", tokens_per_day=1000)
    assert door.ask(key).headers["x-ratelimit-remaining-tokens"] == "1000"
    assert door.ask(key).headers["x-ratelimit-remaining-tokens"] == "996"
    assert door.ask(key).headers["x-ratelimit-remaining-tokens"] == "992"


def test_a_process_that_is_to_end_admits_nobody_and_the_engine_hears_of_none(door: Door) -> None:
    heard: list[Any] = []

    async def listen(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(scope)

    door.engine_app = listen
    door.deps.admission.draining = True
    answer = door.ask()
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert heard == []


def test_background_work_says_so_to_the_engine(door: Door) -> None:
    assert door.ask(**{"X-Priority": "background"}).json()["body"]["priority"] == 1
    assert door.ask().json()["body"]["priority"] == 0


def test_a_battles_side_is_answered_under_its_own_name(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        body = await body_of(receive)
        said = (TRANSCRIPTS.get() or [])[0]
        said.text, said.finish_reason = "yes", "stop"
        content = json.dumps({"model": body["model"]}, separators=(",", ":")).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def side(name: str, owner: str) -> str | None:
        return "policy-0001" if (name, owner) == ("battle-1-a", "alice") else None

    door.engine_app = named
    monkeypatch.setattr(door.deps.battles, "side", side)
    answer = door.ask(model="battle-1-a")
    assert answer.json() == {"model": "battle-1-a"}
    assert answer.headers["x-policy-version"] == "battle-1-a"
    assert "policy-0001" not in answer.text + str(answer.headers)
    assert door.ask(model="battle-1-b").status_code == 404
    assert door.logged()[0].policy_version == "policy-0001"


def test_how_answers_went_is_told_for_the_canary_and_callers_faults_are_not(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, bool, bool]] = []

    def outcome(version: str, ok: bool, empty: bool, latency_s: float) -> None:
        assert latency_s >= 0
        told.append((version, ok, empty))

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b'{"error": {"message": "no"}}'})

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def be_silent(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setattr(door.traffic, "outcome", outcome)
    for app, status in ((say_yes, 200), (refuse, 400), (fail, 503), (be_silent, 200)):
        door.engine_app = app
        assert door.ask().status_code == status
    assert told == [("policy-0001", True, False), ("policy-0001", False, True), ("policy-0001", True, True)]


def test_an_engine_that_gives_no_answer_at_all_is_503(door: Door) -> None:
    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)

    door.engine_app = nothing
    answer = door.ask()
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "engine_unavailable"
    assert EngineError.__name__ not in answer.text
