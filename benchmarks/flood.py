"""An open load on the API, by a process of its own: requests leave when their time has come, answered or not.

Unlike a closed load it does not slow down with the server, so it can offer more than the server can do.
``python -m benchmarks.flood`` reads one `Flood` on standard input and prints the list of its `Fate`.
"""

import asyncio
import subprocess
import sys
import time

import msgspec

from benchmarks.load import TAIL_BYTES, event_loop, whats_wrong


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One key and how often it asks."""

    key: str
    per_second: float


class Flood(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for what, and for how long."""

    url: str
    sources: list[Source]
    seconds: float
    prompts: list[str]
    tokens: int
    """Length of each answer: ``min_tokens`` and ``max_tokens``."""


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one request; times are seconds."""

    source: int
    due_s: float
    """When it was to leave, since the flood began."""
    late_s: float
    """How much later it left: the client's own fault."""
    took_s: float
    status: int
    """0 if there was no answer."""
    retry_after: str
    fault: str
    """What was wrong with a good status: the answer was cut or short."""


def run(flood: Flood) -> list[Fate]:
    """Return what a fresh client process saw.

    Raises:
        RuntimeError: the client failed; holds the last it said.
    """
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.flood"], input=msgspec.json.encode(flood), capture_output=True
    )
    if ended.returncode != 0:
        raise RuntimeError(f"the flood failed: {ended.stderr.decode()[-2000:]}")
    return msgspec.json.decode(ended.stdout, type=list[Fate])


async def pour(flood: Flood) -> list[Fate]:
    """Send everything at its time and wait for the last answer."""
    import aiohttp  # here, because whoever only reads results needs no client

    due = sorted(
        (number / source.per_second, place)
        for place, source in enumerate(flood.sources)
        for number in range(int(flood.seconds * source.per_second))
    )
    began = time.perf_counter()
    asked: list[asyncio.Task[Fate]] = []
    async with aiohttp.ClientSession(flood.url, connector=aiohttp.TCPConnector(limit=0)) as session:
        for number, (due_s, place) in enumerate(due):
            if (wait_s := began + due_s - time.perf_counter()) > 0:
                await asyncio.sleep(wait_s)
            asked.append(asyncio.create_task(_ask(session, flood, number, place, due_s, began)))
        return list(await asyncio.gather(*asked))


async def _ask(session, flood: Flood, number: int, place: int, due_s: float, began: float) -> Fate:  # type: ignore[no-untyped-def]
    import aiohttp

    body = {
        "model": "live",
        "messages": [{"role": "user", "content": flood.prompts[number % len(flood.prompts)]}],
        "temperature": 0,
        "min_tokens": flood.tokens,
        "max_tokens": flood.tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    headers = {"Authorization": f"Bearer {flood.sources[place].key}", "Content-Type": "application/json"}
    left = time.perf_counter()
    status, retry_after, fault = 0, "", ""
    try:
        async with session.post("/v1/chat/completions", data=msgspec.json.encode(body), headers=headers) as response:
            content = await response.read()
            status, retry_after = response.status, response.headers.get("Retry-After", "")
        if status == 200:
            fault = whats_wrong(status, content[-TAIL_BYTES:], flood.tokens)
    except (aiohttp.ClientError, TimeoutError) as error:
        fault = f"{type(error).__name__}: {error}"
    return Fate(
        source=place,
        due_s=due_s,
        late_s=left - began - due_s,
        took_s=time.perf_counter() - left,
        status=status,
        retry_after=retry_after,
        fault=fault,
    )


def main() -> None:
    """Read a flood, pour it, print what became of it."""
    flood = msgspec.json.decode(sys.stdin.buffer.read(), type=Flood)
    with asyncio.Runner(loop_factory=event_loop) as runner:
        fates = runner.run(pour(flood))
    sys.stdout.buffer.write(msgspec.json.encode(fates) + b"\n")


if __name__ == "__main__":
    main()
