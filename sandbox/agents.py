"""Customers and labelers who act, over the public HTTP API and nothing else.

Knows requests and pacing; what they ask and how they judge is in `sandbox.customers` and `sandbox.labelers`.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from sandbox.customers import Customer
from sandbox.labelers import Labeler, assess, write_demonstration

ANSWER_TOKENS = 32
"""Length cap of an answer; right answers in this world are shorter than 20 tokens."""
PATIENCE = 20
"""How often an agent tries again when the API says that it is busy or unreachable, with a pause that grows to 2 s."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One prompt that a customer is about to ask."""

    customer: Customer
    secret: str
    text: str


@dataclass(kw_only=True)
class Tally:
    """What agents did; what was promised is checked against it."""

    served: int = 0
    served_with_consent: int = 0
    ratings: int = 0
    labels: int = 0
    demonstrations: int = 0
    lost_leases: int = 0


def session(url: str, connections: int = 32) -> httpx.AsyncClient:
    """Return an HTTP client for the API at ``url``."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.AsyncClient(base_url=url, timeout=httpx.Timeout(120, connect=5), limits=limits, trust_env=False)


async def ask_all(url: str, questions: Iterable[Question], tally: Tally, *, at_once: int = 8) -> None:
    """Ask every question, ``at_once`` at a time; every answer must be a success.

    Raises:
        httpx.HTTPStatusError: the API refused a question for good.
    """
    waiting = iter(questions)

    async def customer(client: httpx.AsyncClient) -> None:
        for question in waiting:
            await _ask(client, question, tally)

    async with session(url, at_once) as client:
        await asyncio.gather(*(customer(client) for _ in range(at_once)))


async def _ask(client: httpx.AsyncClient, question: Question, tally: Tally) -> None:
    body = {"model": "live", "messages": [{"role": "user", "content": question.text}], "max_tokens": ANSWER_TOKENS}
    await _post(client, "/v1/chat/completions", body, question.secret)
    tally.served += 1
    tally.served_with_consent += question.customer.consent


async def work(
    url: str,
    labeler: Labeler,
    secret: str,
    queues: Sequence[str],
    tally: Tally,
    rng: random.Random,
    enough: Callable[[], bool],
) -> None:
    """Take items from the queues, in this order of preference, and answer them until ``enough``."""
    async with session(url, 2) as client:
        while not enough():
            item = await _next(client, secret, queues)
            if item is None:
                await asyncio.sleep(0.25)
                continue
            await _answer(client, labeler, secret, item, rng, tally)


async def _next(client: httpx.AsyncClient, secret: str, queues: Sequence[str]) -> dict[str, Any] | None:
    for queue in queues:
        response = await _post(client, "/v1/labeling/next", {"queue": queue}, secret)
        if response.status_code == 200:
            return dict(response.json())
    return None


async def _answer(
    client: httpx.AsyncClient, labeler: Labeler, secret: str, item: dict[str, Any], rng: random.Random, tally: Tally
) -> None:
    prompt = item["messages"][-1]["content"]
    answer: dict[str, Any] = {"token": item["token"], "submission_id": str(uuid.uuid4())}
    if item["kind"] == "demonstration":
        answer["response"] = write_demonstration(labeler, prompt, rng)
    else:
        shown = item["completions"]
        view = assess(labeler, prompt, [(each["text"], each["finished"]) for each in shown], rng)
        at = [each["index"] for each in shown]
        answer["ranking"] = [[at[place] for place in group] for group in view.ranking]
        quality = dict(zip(at, view.quality, strict=True))
        answer["quality"] = [quality[index] for index in sorted(at)]
        answer["flags"] = {flag: sorted(at[place] for place in places) for flag, places in view.flags.items()}
    response = await _post(client, f"/v1/labeling/items/{item['item_id']}/submit", answer, secret, allow=(409,))
    if response.status_code == 409:
        tally.lost_leases += 1
    elif item["kind"] == "demonstration":
        tally.demonstrations += 1
    else:
        tally.labels += 1


async def _post(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], secret: str, allow: Sequence[int] = ()
) -> httpx.Response:
    """POST, patiently: a busy or unreachable API is tried again, as an SDK would."""
    headers = {"Authorization": f"Bearer {secret}"}
    for attempt in range(PATIENCE):
        try:
            response = await client.post(path, json=body, headers=headers)
        except httpx.TransportError:
            if attempt == PATIENCE - 1:
                raise
        else:
            if response.status_code not in (429, 503):
                break
        await asyncio.sleep(min(2.0, 0.1 * 2**attempt))
    if response.status_code not in allow:
        response.raise_for_status()
    return response
