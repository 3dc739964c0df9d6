"""A closed load of streamed chats on an OpenAI-compatible server, by a process of its own.

Knows the wire and how long things took; knows nothing of who answers. The same client for every server that is
compared: it looks for three words in the bytes of an answer and parses nothing, so that it takes little of the cores
that the servers need. ``python -m benchmarks.load`` reads one `Job` on standard input and prints one `Load`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import aiohttp

SETTLE_S = 0.5
"""Beginning of a load that counts for nothing: connections open and the batch fills."""
TAIL_BYTES = 1024
"""End of an answer that is searched for its last words; the chunk with the usage is far shorter."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask, of whom, and for how long."""

    url: str
    """Scheme, host and port."""
    model: str
    key: str
    prompts: list[str]
    """Asked in this order, one a request, from the start again when all were asked."""
    concurrency: int
    """Callers; each waits for the end of its answer before it asks again."""
    seconds: float
    """Time after which nobody asks again; answers that have begun are read to their end."""
    tokens: int
    """Length of each answer: ``min_tokens`` and ``max_tokens``."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How one request went; times are seconds, measured at the caller."""

    started_s: float
    """Since the load began."""
    ttft_s: float
    """Until the first byte of the body, which comes with the first token."""
    latency_s: float
    """Until the last byte."""
    fault: str
    """Empty for a complete answer of the right length, else what was wrong with it."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """All answers of a job."""

    job_seconds: float
    tokens: int
    answers: list[Answer]
    client_cpu_s: float
    """Processor time of the client while it asked."""

    @property
    def faults(self) -> list[str]:
        """What was wrong with the answers that failed."""
        return [answer.fault for answer in self.answers if answer.fault]

    @property
    def good(self) -> list[Answer]:
        """Answers that were complete."""
        return [answer for answer in self.answers if not answer.fault]

    @property
    def tokens_per_s(self) -> float:
        """Tokens a second between the settling and the end, of answers across an edge the share that lies inside."""
        inside = 0.0
        for answer in self.good:
            begin = max(answer.started_s, SETTLE_S)
            end = min(answer.started_s + answer.latency_s, self.job_seconds)
            inside += max(0.0, end - begin) / answer.latency_s
        return self.tokens * inside / (self.job_seconds - SETTLE_S)


def run(job: Job) -> Load:
    """Return what a fresh client process measured.

    Raises:
        RuntimeError: the client failed; holds the last it said.
    """
    command = [sys.executable, "-m", "benchmarks.load"]
    ended = subprocess.run(command, input=msgspec.json.encode(job), capture_output=True)
    if ended.returncode != 0:
        raise RuntimeError(f"the load generator failed: {ended.stderr.decode()[-2000:]}")
    return msgspec.json.decode(ended.stdout, type=Load)


def ask(job: Job) -> str:
    """Return the text of one answer to the job's first prompt, not streamed.

    Raises:
        OSError: the server did not answer with 200.
    """
    body = {**msgspec.json.decode(body_of(job, 0)), "stream": False}
    body.pop("stream_options")
    request = urllib.request.Request(f"{job.url}/v1/chat/completions", msgspec.json.encode(body), headers_of(job))
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(msgspec.json.decode(answer.read())["choices"][0]["message"]["content"])


async def offer(job: Job) -> Load:
    """Put the load on the server."""
    import aiohttp  # here, because whoever only reads results needs no client

    began, cpu = time.perf_counter(), time.process_time()
    numbers = count()
    connector = aiohttp.TCPConnector(limit=job.concurrency)
    async with aiohttp.ClientSession(job.url, connector=connector, headers=headers_of(job)) as session:
        callers = (_caller(session, job, numbers, began) for _ in range(job.concurrency))
        found = await asyncio.gather(*callers)
    answers = [answer for each in found for answer in each]
    spent = time.process_time() - cpu
    return Load(job_seconds=job.seconds, tokens=job.tokens, answers=answers, client_cpu_s=spent)


async def _caller(session: aiohttp.ClientSession, job: Job, numbers: Iterator[int], began: float) -> list[Answer]:
    answers = []
    while time.perf_counter() - began < job.seconds:
        answers.append(await _ask(session, body_of(job, next(numbers)), job.tokens, began))
        if answers[-1].fault:
            await asyncio.sleep(0.1)  # a server that refuses at once must not be asked as fast as it can refuse
    return answers


def headers_of(job: Job) -> dict[str, str]:
    """Return the headers of every request."""
    return {"Authorization": f"Bearer {job.key}", "Content-Type": "application/json"}


def body_of(job: Job, number: int) -> bytes:
    """Return the request with this number."""
    return msgspec.json.encode(
        {
            "model": job.model,
            "messages": [{"role": "user", "content": job.prompts[number % len(job.prompts)]}],
            "temperature": 0,
            "min_tokens": job.tokens,
            "max_tokens": job.tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )


async def _ask(session: aiohttp.ClientSession, body: bytes, tokens: int, began: float) -> Answer:
    import aiohttp

    started = time.perf_counter()
    first, tail, fault = 0.0, b"", ""
    try:
        async with session.post("/v1/chat/completions", data=body) as response:
            async for chunk in response.content.iter_any():
                first = first or time.perf_counter()
                tail = (tail + chunk)[-TAIL_BYTES:]
            fault = whats_wrong(response.status, tail, tokens)
    except (aiohttp.ClientError, TimeoutError) as error:
        fault = f"{type(error).__name__}: {error}"
    ended = time.perf_counter()
    return Answer(started_s=started - began, ttft_s=(first or ended) - started, latency_s=ended - started, fault=fault)


def whats_wrong(status: int, tail: bytes, tokens: int) -> str:
    """Return what is wrong with a streamed answer by its last bytes; empty for nothing."""
    if status != 200:
        return f"status {status}: {tail.decode(errors='replace')[:200]}"
    if not tail.rstrip().endswith(b"data: [DONE]"):
        return "the stream was cut"
    return "" if b'"completion_tokens":%d' % tokens in tail else "the answer has another length"


def main() -> None:
    """Read a job, do it, print the result."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    with asyncio.Runner(loop_factory=event_loop) as runner:
        load = runner.run(offer(job))
    sys.stdout.buffer.write(msgspec.json.encode(load) + b"\n")


def event_loop() -> asyncio.AbstractEventLoop:
    """Return the fastest loop there is: what a client costs is taken from the servers."""
    import uvloop

    return uvloop.new_event_loop()


if __name__ == "__main__":
    main()
