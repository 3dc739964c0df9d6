"""A serving process that is killed while the ledger is down comes back with what it knew."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from feedback import access, policies, promotion
from feedback.client import Ledger
from feedback.errors import LedgerUnavailable
from serve.recording.memory import FILE, Memory
from serve.swapping.registry import Registry
from tests.builders import make_policy
from tests.conftest import ROOT, RedisServer, free_port

pytestmark = pytest.mark.redis


class Process:
    """``python -m serve`` without an engine, and its Redis."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.redis = RedisServer(directory / "redis")
        self.redis.start()
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        ledger = Ledger(self.redis.url)
        policies.register(ledger, make_policy("policy-0000"))
        promotion.promote(ledger, "policy-0000", "test")
        self.key, _ = access.create(ledger, "client", "alice")

    @property
    def memory(self) -> Path:
        return self.directory / "spool" / "one" / FILE

    def start(self, **extra: str) -> None:
        environment = {
            **os.environ,
            "WHETSTONE_LEDGER_URL": self.redis.url,
            "WHETSTONE_PORT": str(self.port),
            "WHETSTONE_REPLICA": "one",
            "WHETSTONE_ENGINE": "none",
            "WHETSTONE_SPOOL_ROOT": str(self.directory / "spool"),
            "WHETSTONE_ARTIFACT_ROOT": str(self.directory),
            **extra,
        }
        with (self.directory / "log").open("ab") as log:
            command = [sys.executable, "-m", "serve"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def wait(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not condition():
            assert self.process is not None
            assert self.process.poll() is None, (self.directory / "log").read_text()[-2000:]
            assert time.monotonic() < until
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/livez", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def models(self) -> int:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.get(f"http://127.0.0.1:{self.port}/v1/models", headers=headers, timeout=10).status_code


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    found = Process(tmp_path)
    yield found
    found.kill()
    found.redis.kill()


@pytest.mark.slow
def test_it_comes_back_without_the_ledger_and_knows_its_callers(process: Process) -> None:
    process.start()
    process.wait(process.answers)
    assert process.models() == 200
    process.wait(lambda: process.memory.is_file() and "alice" in process.memory.read_text())
    process.redis.kill()
    process.kill()
    process.start()
    process.wait(process.answers)
    assert process.models() == 200
    assert "starting with what the ledger said last" in (process.directory / "log").read_text()
    process.kill()
    process.start(WHETSTONE_WITHOUT_LEDGER_S="0")
    assert process.process is not None
    assert process.process.wait(60) == 1, "trusting what it knew is switched off"


def test_the_registry_tells_where_the_aliases_pointed_until_the_ledger_speaks(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    policies.register(Ledger(server.url), make_policy("policy-0000"))
    promotion.promote(Ledger(server.url), "policy-0000", "test")
    first = Registry(server.url, "one", tmp_path, list, Memory(tmp_path, 3600))
    seen = asyncio.run(first.look())
    policy = asyncio.run(first.policy("policy-0000"))
    asyncio.run(first.look())
    server.kill()
    assert asyncio.run(first.look()) is None, "it keeps what it was told; there is nothing new"
    heir = Registry(server.url, "one", tmp_path, list, Memory(tmp_path, 3600))
    assert asyncio.run(heir.look()) == seen
    assert asyncio.run(heir.policy("policy-0000")) == policy
    with pytest.raises(LedgerUnavailable):
        asyncio.run(heir.policy("policy-0001"))
    stranger = Registry(server.url, "two", tmp_path, list)
    assert asyncio.run(stranger.look()) is None
    for registry in (first, heir, stranger):
        registry.close()
