"""Every schema is tried out before an engine sees it, in a process that may fail in its stead.

Knows the process (`serve.asking.nursery`), its time, and what it said before; knows nothing of grammars. Driven from
one event loop.
"""

import asyncio
import hashlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import OrderedDict
from itertools import count
from pathlib import Path

import msgspec

from feedback.errors import EngineError, Overloaded
from feedback.log import get
from serve.asking.bounds import wrong

REMEMBERED = 1024
"""Verdicts kept; a schema is tried out once for each tokenizer."""
AT_ONCE = 2
GRACE_S = 0.5
"""After a trial's time until it counts as ended without a word."""
QUEUE_FACTOR = 5.0
"""A trial may wait for its turn as long as this many take."""
START_S = 120.0
"""Seconds for the process to import its libraries and read a tokenizer."""
ENDED = "the process that tries schemas out has ended"
log = get(__name__)


class Trials:
    """One nursery, started when first needed and again whenever it ended."""

    def __init__(self, limit_s: float) -> None:
        """Remember the limit.

        Args:
            limit_s: seconds that trying out the schemas of one request may take.
        """
        self._limit_s = limit_s
        self._known: OrderedDict[tuple[str, bytes], str] = OrderedDict()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._starting = asyncio.Lock()
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ready: set[str] = set()
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._ids = count()

    async def check(self, schemas: list[bytes], tokenizer: Path, name: str) -> None:
        """Return if an engine may be given these schemas of one request.

        Args:
            schemas: each as JSON.
            tokenizer: directory of the policy whose tokenizer is used.
            name: the field that they came in.

        Raises:
            InvalidRequest: they are not understood, or take too long or too much memory.
            Overloaded: too many others are being tried out.
            EngineError: the process that tries them out does not start.
        """
        if not schemas:
            return
        known = (str(tokenizer), hashlib.sha256(b"\n".join(schemas)).digest())
        if known not in self._known:
            try:
                async with asyncio.timeout(self._limit_s * QUEUE_FACTOR):
                    await self._turns.acquire()
            except TimeoutError as error:
                raise Overloaded("too many schemas are being tried out", self._limit_s) from error
            try:
                self._known[known] = await self._try_out(schemas, str(tokenizer))
            finally:
                self._turns.release()
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(known)
        if verdict := self._known[known]:
            raise wrong(name, verdict, "invalid_schema")

    async def _try_out(self, schemas: list[bytes], tokenizer: str) -> str:
        await self._start(tokenizer)
        try:
            return await self._ask(schemas, tokenizer, self._limit_s + GRACE_S)
        except TimeoutError:
            return f"takes longer than {self._limit_s:g} s to be tried out, or ends the process that tries it out"

    async def _start(self, tokenizer: str) -> None:
        """Make sure that the nursery runs and has read the tokenizer."""
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                await self.close()
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "serve.asking.nursery"), stdin=PIPE, stdout=PIPE, env=_environment()
                )
                self._reader = asyncio.create_task(self._read(self._process))
            if tokenizer not in self._ready:
                try:
                    await self._ask([], tokenizer, START_S)
                except TimeoutError as error:
                    await self.close()
                    raise EngineError("the process that tries schemas out does not answer") from error
                self._ready.add(tokenizer)

    async def _ask(self, schemas: list[bytes], tokenizer: str, deadline_s: float) -> str:
        assert self._process is not None
        assert self._process.stdin is not None
        id, answer = next(self._ids), asyncio.get_running_loop().create_future()
        self._waiting[id] = answer
        job = {"id": id, "schemas": [each.decode() for each in schemas], "tokenizer": tokenizer}
        try:
            try:
                self._process.stdin.write(msgspec.json.encode({**job, "limit_s": self._limit_s}) + b"\n")
                await self._process.stdin.drain()
            except OSError as error:
                raise EngineError(ENDED) from error
            async with asyncio.timeout(deadline_s):
                return str(await answer)
        finally:
            self._waiting.pop(id, None)

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            reply = msgspec.json.decode(line)
            answer = self._waiting.get(reply["id"])
            if answer is not None and not answer.done():
                answer.set_result(reply["wrong"])
        log.warning(ENDED, status=await process.wait())
        self._give_up()

    def _give_up(self) -> None:
        """Tell all who wait that no answer will come."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(EngineError(ENDED))

    async def close(self) -> None:
        """End the process; safe to call twice."""
        process, self._process = self._process, None
        self._ready.clear()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self._give_up()
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()


def _environment() -> dict[str, str]:
    """Return our environment without our secrets, quiet and with one thread."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WHETSTONE_")}
    return {**kept, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
