"""The load generator on a server that streams what it is told to."""

import json
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from benchmarks.load import SETTLE_S, Answer, Job, Load, ask, body_of, run
from tests.serve.wire import Server

TOKENS = 5


def job(url: str = "http://nowhere", **changes: Any) -> Job:
    fields: dict[str, Any] = {
        "url": url,
        "model": "m",
        "key": "k",
        "prompts": ["one", "two"],
        "concurrency": 2,
        "seconds": 1.0,
        "tokens": TOKENS,
    }
    return Job(**{**fields, **changes})


def answer(started_s: float, latency_s: float, fault: str = "") -> Answer:
    return Answer(started_s=started_s, ttft_s=0.01, latency_s=latency_s, fault=fault)


class Streaming:
    """Answers with as many tokens as it likes, then the end, unless told otherwise."""

    def __init__(self, tokens: int = TOKENS, status: int = 200, end: str = "data: [DONE]\n\n") -> None:
        self.tokens, self.status, self.end = tokens, status, end
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.asked.append(json.loads((await receive())["body"]))
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        if not self.asked[-1].get("stream"):
            text = json.dumps({"choices": [{"message": {"content": "whole"}}]})
        else:
            usage = json.dumps({"usage": {"completion_tokens": self.tokens}}, separators=(",", ":"))
            text = "".join(f"data: {n}\n\n" for n in range(self.tokens)) + f"data: {usage}\n\n{self.end}"
        for piece in text.splitlines(keepends=True):
            await send({"type": "http.response.body", "body": piece.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def offered(app: Streaming, **changes: Any) -> Load:
    server = Server(app, lifespan="off")
    server.start()
    try:
        return run(job(server.url, **changes))
    finally:
        server.stop()


def test_complete_answers_are_counted_and_timed() -> None:
    app = Streaming()
    load = offered(app)
    assert load.faults == []
    assert len(load.good) == len(load.answers) == len(app.asked)
    assert all(0 < each.ttft_s <= each.latency_s for each in load.answers)
    assert load.tokens_per_s > 0
    assert {asked["messages"][0]["content"] for asked in app.asked} == {"one", "two"}
    assert {(asked["min_tokens"], asked["max_tokens"]) for asked in app.asked} == {(TOKENS, TOKENS)}


@pytest.mark.parametrize(
    ("app", "fault"),
    [
        (Streaming(tokens=TOKENS - 1), "the answer has another length"),
        (Streaming(end=""), "the stream was cut"),
        (Streaming(status=503), "status 503"),
    ],
)
def test_an_answer_that_is_not_whole_is_a_fault(app: Streaming, fault: str) -> None:
    load = offered(app, seconds=0.3)
    assert load.good == []
    assert load.faults
    assert all(fault in each for each in load.faults)


def test_nobody_there_is_a_fault() -> None:
    assert "ClientConnectorError" in run(job("http://127.0.0.1:1", seconds=0.1)).faults[0]


def test_an_answer_across_the_edge_counts_with_the_share_inside() -> None:
    end_s = 10.0
    inside, outside, across, failed = (
        answer(2.0, 1.0),
        answer(0.0, SETTLE_S),
        answer(end_s - 1, 2.0),
        answer(3.0, 1.0, "cut"),
    )
    load = Load(job_seconds=end_s, tokens=64, answers=[inside, outside, across, failed], client_cpu_s=0.0)
    assert load.tokens_per_s == pytest.approx(64 * 1.5 / (end_s - SETTLE_S))


def test_one_answer_can_be_read_whole() -> None:
    server = Server(Streaming(), lifespan="off")
    server.start()
    try:
        assert ask(job(server.url)) == "whole"
    finally:
        server.stop()


def test_prompts_begin_again_when_all_were_asked() -> None:
    asked = [json.loads(body_of(job(), number))["messages"][0]["content"] for number in range(3)]
    assert asked == ["one", "two", "one"]
