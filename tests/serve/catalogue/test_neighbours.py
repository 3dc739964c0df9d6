"""Asking for what must not be had harms nobody: a neighbour's greedy answers stay equal to the byte throughout."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from feedback import access
from tests.serve.catalogue.hostile import CHAT, HOSTILE, LEGAL, Case
from tests.serve.conftest import MAX_TOKENS, Server

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
PROMPTS = ("hello", "once upon a time", "<eos><|system|>x")
FUZZERS = 3
LEAST_ANSWERS = 30
ROUND_S = 6.0
"""Seconds for which the same requests are sent again and again; at least one round is made."""
BODIES = [case.body() for case in HOSTILE if case.path == CHAT] + [Case(0, CHAT, fields).body() for fields in LEGAL]


def processes(server: Server) -> set[str]:
    """Return the processes below the server's, engines among them."""
    assert server.process is not None
    found, level = set(), [str(server.process.pid)]
    while level:
        below = [
            child
            for pid in level
            for tasks in Path(f"/proc/{pid}/task").glob("*/children")
            for child in tasks.read_text().split()
        ]
        found.update(below)
        level = below
    return found


def hammer(server: Server, secret: str, first: int, enough: Event) -> list[int]:
    """Send every hostile request, from the ``first`` on, until there is enough; return the statuses."""
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    statuses = []
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
        for count, body in enumerate(itertools.islice(itertools.cycle(BODIES), first, None)):
            if count >= len(BODIES) and enough.is_set():
                return statuses
            statuses.append(client.post(CHAT, content=body).status_code)
    return statuses


def answer(server: Server, prompt: str) -> dict[str, Any]:
    """Return a greedy answer without what differs from one answer to the next."""
    found = server.ask(
        messages=[{"role": "user", "content": prompt}],
        max_tokens=MAX_TOKENS,
        return_token_ids=True,
        logprobs=True,
        headers={"X-Whetstone-Consent": "no"},
    )
    assert found.status_code == 200, found.text
    choice = found.json()["choices"][0]
    return {"ids": choice["token_ids"], "text": choice["message"]["content"], "reason": choice["finish_reason"]}


def test_row_43_a_neighbours_answers_stay_the_same_while_others_ask_for_everything(server: Server) -> None:
    secrets = [access.create(server.ledger, "client", f"mallory-{place}")[0] for place in range(FUZZERS)]
    alone = {prompt: answer(server, prompt) for prompt in PROMPTS}
    reference = server.references[server.live()]
    for prompt in PROMPTS[:2]:
        assert alone[prompt]["ids"] == reference.chat(prompt, MAX_TOKENS)
    before, enough, until = processes(server), Event(), time.monotonic() + ROUND_S
    assert len(before) >= 2, "an engine in each slot"
    with ThreadPoolExecutor(FUZZERS) as pool:
        hammering = [
            pool.submit(hammer, server, secret, place * len(BODIES) // FUZZERS, enough)
            for place, secret in enumerate(secrets)
        ]
        answered = 0
        while time.monotonic() < until or answered < LEAST_ANSWERS:
            for prompt in PROMPTS:
                assert answer(server, prompt) == alone[prompt]
                answered += 1
        enough.set()
        statuses = [status for each in hammering for status in each.result(120)]
    assert len(statuses) >= FUZZERS * len(BODIES)
    assert set(statuses) == {200, 400}
    assert statuses.count(200) >= FUZZERS * len(LEGAL)
    assert processes(server) == before, "no engine ended, none was started"
    assert server.ready()
