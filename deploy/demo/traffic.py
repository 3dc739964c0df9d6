"""Streams of greedy requests that keep flowing while a policy is swapped, and the proof that nothing broke.

Every answer is kept with the version that it is stamped with; afterwards each is compared with the reference decode of
that very version, so an answer that mixes two versions, is cut, or is wrongly stamped cannot hide.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from feedback.records import SwapEvent
from sandbox.agents import session

STREAMS = 24
LENGTHS_TOKENS = (28, 36, 44, 52, 60)
"""Lengths of the streamed answers, in turn: long enough that most streams are inside the engine at any moment, and
different, because streams of one length end together and leave moments in which none is."""


@dataclass(kw_only=True)
class Answer:
    """One streamed answer, as a client saw it.

    Attributes:
        prompt: what was asked.
        tokens: how many tokens were asked for; the answer has exactly so many.
        began_s: unix time of the request.
        ended_s: unix time of the last byte.
        header_version: version in the ``X-Policy-Version`` header.
        versions: versions named in the chunks' ``model``.
        text: the answer.
        finish_reason: of the last chunk; empty if the stream broke off.
        done: whether the stream said that it was over.
        error: what went wrong, or empty.
        raw: the body as it came.
    """

    prompt: str
    tokens: int
    began_s: float
    ended_s: float = 0.0
    header_version: str = ""
    versions: set[str] = field(default_factory=set)
    text: str = ""
    finish_reason: str = ""
    done: bool = False
    error: str = ""
    raw: bytes = b""


class Traffic:
    """A fixed number of streams, each asking its next prompt as soon as the last answer ended."""

    def __init__(self, url: str, secret: str, prompts: Sequence[str]) -> None:
        """Ask ``prompts`` in turn, at temperature 0, with the key ``secret``."""
        self.url, self.secret, self.prompts = url, secret, prompts
        self.answers: list[Answer] = []
        self._stopping = False
        self._next = 0

    async def run(self) -> None:
        """Ask until `stop`; answers that began are always taken to their end."""
        async with session(self.url, STREAMS) as client:
            await asyncio.gather(*(self._stream(client) for _ in range(STREAMS)))
        for answer in self.answers:
            read(answer)

    def stop(self) -> None:
        """Begin no further requests."""
        self._stopping = True

    async def _stream(self, client: httpx.AsyncClient) -> None:
        while not self._stopping:
            prompt = self.prompts[self._next % len(self.prompts)]
            tokens = LENGTHS_TOKENS[self._next % len(LENGTHS_TOKENS)]
            self._next += 1
            answer = Answer(prompt=prompt, tokens=tokens, began_s=time.time())
            self.answers.append(answer)
            try:
                await self._ask(client, answer)
            except httpx.HTTPError as error:
                answer.error = repr(error)
            answer.ended_s = time.time()

    async def _ask(self, client: httpx.AsyncClient, answer: Answer) -> None:
        body = {
            "model": "live",
            "messages": [{"role": "user", "content": answer.prompt}],
            "temperature": 0,
            "max_tokens": answer.tokens,
            "min_tokens": answer.tokens,
            "stream": True,
        }
        headers = {"Authorization": f"Bearer {self.secret}", "X-Whetstone-Consent": "no"}
        async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
            answer.header_version = response.headers.get("X-Policy-Version", "")
            if response.status_code != 200:
                answer.error = f"HTTP {response.status_code}"
                return
            answer.raw = b"".join([part async for part in response.aiter_raw()])


def read(answer: Answer) -> None:
    """Read what came over the wire: version, text and end of a stream.

    Done when the traffic is over: a client that reads while it streams is slower than the server, and then most streams
    wait in its own buffers instead of being in flight.
    """
    try:
        for line in answer.raw.decode().splitlines():
            if line == "data: [DONE]":
                answer.done = True
            elif line.startswith("data: "):
                _take(answer, json.loads(line.removeprefix("data: ")))
    except (ValueError, KeyError) as error:
        answer.error = answer.error or repr(error)


def _take(answer: Answer, chunk: dict[str, object]) -> None:
    if "error" in chunk:
        answer.error = str(chunk["error"])[:200]
        return
    answer.versions.add(str(chunk["model"]))
    for choice in chunk["choices"]:  # type: ignore[attr-defined]  # a list, by the API's contract
        answer.text += choice["delta"].get("content") or ""
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason


Reference = Mapping[tuple[str, str, int], str]
"""(version, prompt, tokens) -> greedy text of that version, decoded outside of the serving process."""


def count_faults(answers: Sequence[Answer], reference: Reference) -> dict[str, int]:
    """Count answers that failed, were cut, or are not exactly what their version says.

    Args:
        answers: what clients saw.
        reference: what each version says.
    """
    failed = truncated = mixed = 0
    for answer in answers:
        if answer.error:
            failed += 1
        elif not answer.done or not answer.finish_reason:
            truncated += 1
        elif not _is_pure(answer, reference):
            mixed += 1
    return {"requests": len(answers), "failed": failed, "truncated": truncated, "mixed_version": mixed}


def _is_pure(answer: Answer, reference: Reference) -> bool:
    """Tell whether header and every chunk name one version, and the text is exactly what that version says."""
    version = answer.header_version
    return answer.versions == {version} and reference.get((version, answer.prompt, answer.tokens)) == answer.text


def in_flight_at(answers: Sequence[Answer], event: SwapEvent) -> int:
    """Return how many answers had begun and not ended when the swap went live."""
    at_s = event.at.timestamp()
    return sum(answer.began_s <= at_s <= answer.ended_s for answer in answers)
