"""A closed load of streamed greedy chats that keeps every token, by a process of its own.

Knows the wire; knows nothing of swaps. ``python -m benchmarks.streams`` reads one `Streams` on standard input, prints
``begun`` once answers come, and at the end the list of its `Answer`. Bodies are taken apart only after the load, so
that the client takes little of the cores that the engines need.
"""

import asyncio
import subprocess
import sys
import time
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from benchmarks.load import event_loop

if TYPE_CHECKING:
    import aiohttp


class Streams(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask, of whom, and for how long."""

    url: str
    key: str
    prompts: list[str]
    concurrency: int
    seconds: float
    tokens: int
    """Most tokens of an answer."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How one request went; times are Unix seconds or seconds, measured at the caller."""

    prompt: int
    started_at: float
    ttft_s: float
    """Until the first byte of the body, which comes with the first token."""
    latency_s: float
    version: str
    """As the header says."""
    id: str
    """Request id; tells when the request was routed."""
    tokens: list[int]
    fault: str
    """Empty for an answer that is complete and names one version everywhere."""


class Running:
    """A load under way; a context manager that waits for the first answers."""

    def __init__(self, job: Streams) -> None:
        command = [sys.executable, "-m", "benchmarks.streams"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(job))
        self._process.stdin.close()

    def __enter__(self) -> "Running":
        """Wait until answers come."""
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != b"begun":
            raise RuntimeError("the load did not begin")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the load if it is still under way."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def answers(self) -> list[Answer]:
        """Wait for the end of the load and return all of it."""
        assert self._process.stdout is not None
        return msgspec.json.decode(self._process.stdout.read(), type=list[Answer])


async def offer(job: Streams) -> list[Answer]:
    """Put the load on the server."""
    import aiohttp  # here, because whoever only reads results needs no client

    numbers, until, answers = count(), time.time() + job.seconds, list[Answer]()
    headers = {"Authorization": f"Bearer {job.key}", "Content-Type": "application/json"}

    async def caller(session: aiohttp.ClientSession) -> None:
        while time.time() < until:
            prompt = next(numbers) % len(job.prompts)
            answers.append(await _ask(session, job, prompt))
            if len(answers) == job.concurrency:
                print("begun", flush=True)

    connector = aiohttp.TCPConnector(limit=job.concurrency)
    async with aiohttp.ClientSession(job.url, connector=connector, headers=headers) as session:
        await asyncio.gather(*(caller(session) for _ in range(job.concurrency)))
    return [_read(answer) for answer in answers]


async def _ask(session: "aiohttp.ClientSession", job: Streams, prompt: int) -> Answer:
    """Return one answer with its raw body in place of the fault."""
    import aiohttp

    body = msgspec.json.encode(
        {
            "model": "live",
            "messages": [{"role": "user", "content": job.prompts[prompt]}],
            "temperature": 0,
            "max_tokens": job.tokens,
            "stream": True,
            "return_token_ids": True,
        }
    )
    started_at, started, first = time.time(), time.perf_counter(), 0.0
    chunks, version, id = [], "", ""
    try:
        async with session.post("/v1/chat/completions", data=body) as response:
            version, id = (response.headers.get(name, "") for name in ("x-policy-version", "x-request-id"))
            async for chunk in response.content.iter_any():
                first = first or time.perf_counter()
                chunks.append(chunk)
        raw = b"".join(chunks).decode() if response.status == 200 else f"status {response.status}"
    except (aiohttp.ClientError, TimeoutError) as error:
        raw = f"{type(error).__name__}: {error}"
    ended = time.perf_counter()
    return Answer(
        prompt=prompt,
        started_at=started_at,
        ttft_s=(first or ended) - started,
        latency_s=ended - started,
        version=version,
        id=id,
        tokens=[],
        fault=raw,
    )


def _read(answer: Answer) -> Answer:
    """Take the raw body apart."""
    lines = [line.removeprefix("data: ") for line in answer.fault.splitlines() if line.startswith("data: ")]
    if not lines:
        return msgspec.structs.replace(answer, fault=answer.fault[:200] or "no answer")
    whole = lines[-1] == "[DONE]"
    parts = [msgspec.json.decode(line) for line in (lines[:-1] if whole else lines)]
    choices = [choice for part in parts for choice in part.get("choices", ())]
    tokens = [token for choice in choices for token in choice.get("token_ids") or ()]
    ended = any(choice.get("finish_reason") in ("stop", "length") for choice in choices)
    fault = "" if whole and ended else "truncated"
    if {part.get("model") for part in parts} != {answer.version}:
        fault = f"header says {answer.version}, the body another version"
    return msgspec.structs.replace(answer, tokens=tokens, fault=fault)


def main() -> None:
    """Read a job, do it, print the result."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Streams)
    with asyncio.Runner(loop_factory=event_loop) as runner:
        answers = runner.run(offer(job))
    sys.stdout.buffer.write(msgspec.json.encode(answers))


if __name__ == "__main__":
    main()
