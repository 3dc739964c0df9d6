"""The whole serving process on real parts: two vLLM slots, Redis, the OpenAI wire format, swaps under load."""

import asyncio
import json
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from feedback import interactions, promotion
from feedback.client import Ledger
from tests.serve.conftest import Server

pytestmark = [pytest.mark.vllm, pytest.mark.redis, pytest.mark.slow]

PROMPTS = [f"prompt {letter}: " + "tell me a story, please. " * 4 for letter in "abcdefgh"]
STREAMS = 16
TOKENS = 48


def logged(ledger: Ledger, id: str) -> interactions.Interaction:
    """Return an interaction, waiting for the relay."""
    for _ in range(100):
        if ledger.redis.exists(f"ws:interaction:{id}"):
            break
        time.sleep(0.05)
    return interactions.get(ledger, id)


def events(text: str) -> list[dict[str, Any]]:
    """Return the JSON chunks of a server-sent stream, which must end with [DONE]."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_a_chat_answer_names_its_version_everywhere_and_equals_the_reference(server: Server) -> None:
    answer = server.ask(max_tokens=TOKENS, return_token_ids=True)
    assert answer.status_code == 200
    body = answer.json()
    version = body["model"]
    assert version == answer.headers["x-policy-version"]
    assert body["id"] == answer.headers["x-request-id"]
    assert body["choices"][0]["token_ids"] == server.references[version].chat("hello", TOKENS)
    record = logged(server.ledger, body["id"])
    assert record.policy_version == version
    assert record.completion == body["choices"][0]["message"]["content"]
    assert record.completion_tokens == body["usage"]["completion_tokens"]
    assert record.prompt_tokens == body["usage"]["prompt_tokens"]
    assert record.finish_reason == body["choices"][0]["finish_reason"]
    assert (record.customer, record.messages[0].content) == ("alice", "hello")


def test_a_streamed_chat_gives_the_same_tokens_and_the_same_record(server: Server) -> None:
    whole = server.ask(max_tokens=TOKENS, return_token_ids=True)
    streamed = server.ask(max_tokens=TOKENS, stream=True, return_token_ids=True, stream_options={"include_usage": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    chunks = events(streamed.text)
    ids = [id for chunk in chunks for choice in chunk["choices"] for id in choice.get("token_ids") or []]
    assert ids == whole.json()["choices"][0]["token_ids"]
    assert {chunk["model"] for chunk in chunks} == {streamed.headers["x-policy-version"]}
    assert {chunk["id"] for chunk in chunks} == {streamed.headers["x-request-id"]}
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    record = logged(server.ledger, chunks[0]["id"])
    assert record.completion == text
    assert record.completion_tokens == len(ids)


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_completion_is_answered_and_logged(server: Server, stream: bool) -> None:
    answer = server.ask("/v1/completions", prompt="once upon", stream=stream, max_tokens=12)
    assert answer.status_code == 200
    body = events(answer.text)[0] if stream else answer.json()
    record = logged(server.ledger, body["id"])
    assert body["id"].startswith("cmpl-")
    assert record.messages[0].content == "once upon"
    assert record.completion_tokens == 12 or record.finish_reason == "stop"


def test_several_choices_come_back_and_the_first_is_logged(server: Server) -> None:
    body = server.ask(n=4, temperature=1.0, seed=5).json()
    assert len(body["choices"]) == 4
    first = next(choice for choice in body["choices"] if choice["index"] == 0)
    assert logged(server.ledger, body["id"]).completion == first["message"]["content"]


@pytest.mark.parametrize(
    ("role", "headers"),
    [("private", {}), ("client", {"X-Whetstone-Consent": "no"}), ("client", {"x-whetstone-consent": "No"})],
)
def test_without_consent_nothing_is_recorded(server: Server, role: str, headers: dict[str, str]) -> None:
    time.sleep(0.3)
    before = interactions.count(server.ledger)
    assert server.ask(role=role, headers=headers).status_code == 200
    time.sleep(0.3)
    assert interactions.count(server.ledger) == before


def test_models_lists_what_can_be_asked_for(server: Server) -> None:
    answer = httpx.get(f"{server.url}/v1/models", headers=server.auth())
    names = [model["id"] for model in answer.json()["data"]]
    assert "live" in names
    assert server.live() in names
    for name in names:
        assert server.ask(model=name).status_code == 200


@pytest.mark.parametrize("name", ["gpt-4", "policy-9999", "candidate", "../etc/passwd", "a" * 200])
def test_an_unknown_model_is_a_404_that_lists_the_loaded_ones(server: Server, name: str) -> None:
    answer = server.ask(model=name)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert "live" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("best_of", 2),
        ("tools", []),
        ("response_format", {"type": "json_object"}),
        ("bad_words", ["a"]),
        ("prompt_logprobs", 1),
        ("chat_template", "x"),
        ("min_tokens", -5),
        ("logit_bias", {"1": 101}),
        ("max_tokens", 10**30),
        ("max_tokens", MAX := 65),
        ("temperature", -0.1),
        ("top_p", 0),
        ("n", 10),
        ("seed", 2**64),
        ("stop", ["x"] * 5),
        ("stream", "yes"),
        ("messages", []),
        ("top_logprobs", 3),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(server: Server, field: str, value: object) -> None:
    answer = server.ask(**{field: value})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"model": NaN}', b"[" * 100_000, b'{"model":"live","messages":1e999}', b"\xff\xfe"],
)
def test_a_malformed_body_is_a_400(server: Server, body: bytes) -> None:
    headers = {**server.auth(), "Content-Type": "application/json"}
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_what_only_the_engine_can_judge_is_a_400_too(server: Server) -> None:
    too_long = server.ask(messages=[{"role": "user", "content": "x" * 600}])
    out_of_vocabulary = server.ask("/v1/completions", prompt=[100_000])
    assert (too_long.status_code, out_of_vocabulary.status_code) == (400, 400)
    assert too_long.json()["error"]["code"] == "context_length_exceeded"


def test_keys_decide_who_may_ask(server: Server) -> None:
    assert server.ask(role="labeler").status_code == 403
    nobody = httpx.post(f"{server.url}/v1/chat/completions", json={})
    stranger = server.ask(headers={"Authorization": "Bearer ws-client-nobody"})
    assert (nobody.status_code, stranger.status_code) == (401, 401)
    assert nobody.json()["error"]["code"] == "invalid_api_key"


def test_a_body_beyond_the_limit_is_a_413(server: Server) -> None:
    body = json.dumps({"model": "live", "messages": [{"role": "user", "content": "x" * (1 << 20)}]})
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=body, headers=server.auth())
    assert answer.status_code == 413


def test_metrics_of_both_engines_survive(server: Server) -> None:
    text = httpx.get(f"{server.url}/metrics").text
    for slot in "ab":
        assert f'vllm:generation_tokens_total{{slot="{slot}"' in text
    assert 'whetstone_requests_total{route="/v1/chat/completions",status="200",version="policy-000' in text


def test_a_caller_who_hangs_up_stops_the_engine(server: Server) -> None:
    with (
        httpx.Client() as client,
        client.stream(
            "POST",
            f"{server.url}/v1/chat/completions",
            headers=server.auth(),
            json={
                "model": "live",
                "messages": [{"role": "user", "content": "hang up"}],
                "stream": True,
                "n": 9,
                "max_tokens": 64,
            },
        ) as answer,
    ):
        id = answer.headers["x-request-id"]
        next(answer.iter_lines())
    server.wait(lambda: all(slot["in_flight"] == 0 for slot in server.slots()), "no request in flight", 10)
    assert logged(server.ledger, id).finish_reason in ("aborted", "stop", "length")


async def stream_once(client: httpx.AsyncClient, server: Server, prompt: str) -> tuple[str, list[int], str]:
    """Return (stamped version, token ids, what is wrong) of one streamed greedy answer."""
    body = {
        "model": "live",
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": TOKENS,
        "stream": True,
        "return_token_ids": True,
    }
    ids: list[int] = []
    finished = done = False
    async with client.stream("POST", f"{server.url}/v1/chat/completions", json=body, headers=server.auth()) as answer:
        version = answer.headers.get("x-policy-version", "")
        if answer.status_code != 200:
            return version, ids, f"status {answer.status_code}"
        async for line in answer.aiter_lines():
            if line == "data: [DONE]":
                done = True
            elif line.startswith("data: "):
                chunk = json.loads(line.removeprefix("data: "))
                if chunk["model"] != version:
                    return version, ids, f"body says {chunk['model']}"
                for choice in chunk["choices"]:
                    ids += choice.get("token_ids") or []
                    finished = finished or choice["finish_reason"] in ("stop", "length")
    return version, ids, "" if finished and done else "truncated"


async def load(server: Server, moves: list[str]) -> tuple[Counter[str], list[int]]:
    """Stream from 16 callers while ``live`` moves; return outcome -> count and the streams open at each move."""
    outcomes: Counter[str] = Counter()
    open_at_move: list[int] = []
    stop = asyncio.Event()
    streaming = 0

    async def caller(number: int, client: httpx.AsyncClient) -> None:
        nonlocal streaming
        turn = number
        while not stop.is_set():
            prompt = PROMPTS[turn % len(PROMPTS)]
            turn += 1
            streaming += 1
            version, ids, wrong = await stream_once(client, server, prompt)
            streaming -= 1
            if not wrong and ids != server.references[version].chat(prompt, TOKENS):
                wrong = f"not what {version} says"
            outcomes[wrong or f"exact {version}"] += 1

    limits = httpx.Limits(max_connections=STREAMS)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        callers = [asyncio.create_task(caller(number, client)) for number in range(STREAMS)]
        for name in moves:
            await asyncio.sleep(0.7)
            await asyncio.to_thread(promotion.promote, server.ledger, name, "test")
            await asyncio.to_thread(server.wait, lambda: server.live() == server_alias(server), "the swap", 30)
            open_at_move.append(streaming)
        await asyncio.sleep(0.7)
        stop.set()
        await asyncio.gather(*callers)
    return outcomes, open_at_move


def server_alias(server: Server) -> str:
    """Return where the ledger's live points."""
    return str(server.ledger.redis.hget("ws:aliases", "live"))


def test_every_answer_under_swaps_is_whole_and_exact_to_its_stamp(server: Server) -> None:
    for reference in server.references.values():
        for prompt in PROMPTS:
            reference.chat(prompt, TOKENS)
    versions = list(server.paths)
    if server.live() != versions[1]:
        server.promote(versions[1])
    time.sleep(1)  # until that swap's event is written
    before = len(list(promotion.swaps(server.ledger)))
    moves = [versions[2], "previous", versions[0], versions[2], "previous", versions[1], "previous", versions[2]]
    outcomes, open_at_move = asyncio.run(load(server, moves))
    time.sleep(1)
    swaps = [event for event in list(promotion.swaps(server.ledger))[before:] if event.state == "live"]
    print(dict(outcomes), open_at_move, [(event.version, round(event.load_s, 4), event.in_flight) for event in swaps])
    assert {name.split()[0] for name in outcomes} == {"exact"}, outcomes
    assert len(outcomes) == 3
    assert len(swaps) == len(moves)
    assert min(open_at_move) >= 8


def test_answers_go_on_while_redis_is_dead_and_are_logged_once_it_is_back(server: Server) -> None:
    server.ask()  # the key is known now
    time.sleep(0.3)
    before = interactions.count(server.ledger)
    server.redis.kill()
    ids = []
    for number in range(30):
        started = time.monotonic()
        answer = server.ask(messages=[{"role": "user", "content": f"while it is down {number}"}])
        assert answer.status_code == 200
        assert time.monotonic() - started < 20
        ids.append(answer.json()["id"])
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    server.redis.start()
    server.wait(lambda: interactions.count(server.ledger) >= before + 30, "the relay", 30)
    time.sleep(0.5)
    assert interactions.count(server.ledger) == before + 30
    assert [interactions.get(server.ledger, id).messages[0].content for id in ids] == [
        f"while it is down {number}" for number in range(30)
    ]
