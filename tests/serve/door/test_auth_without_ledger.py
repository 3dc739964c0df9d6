"""Keys while the ledger is slow, frozen or down, and after a restart without it."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from feedback import access
from feedback.client import Ledger
from feedback.errors import InvalidKey, LedgerUnavailable
from serve.door.auth import authenticate_async
from serve.door.keycache import KeyCache
from serve.recording.memory import Memory
from tests.conftest import RedisServer

pytestmark = pytest.mark.redis


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that a test may kill."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def carrying(secret: str) -> Headers:
    return Headers({"Authorization": f"Bearer {secret}"})


async def _asked_twice(keys: KeyCache, clock: Clock, secret: str, later_s: float) -> float:
    """Let the secret in, let time pass, let it in again; return how long the second time took."""
    await authenticate_async(carrying(secret), ("client",), keys)
    clock.now_s += later_s
    began = time.monotonic()
    await authenticate_async(carrying(secret), ("client",), keys)
    return time.monotonic() - began


def test_a_request_does_not_wait_for_a_frozen_ledger_when_its_key_was_known_a_moment_ago(
    own_server: RedisServer,
) -> None:
    clock = Clock()
    keys = KeyCache(Ledger(own_server.url, 1.0), 15, clock)
    secret, _ = access.create(Ledger(own_server.url), "client", "acme")
    keys.find(secret)
    assert own_server.process is not None
    own_server.process.send_signal(signal.SIGSTOP)
    try:
        assert asyncio.run(_asked_twice(keys, clock, secret, 20)) < 0.1
        clock.now_s += 600
        assert asyncio.run(_asked_twice(keys, clock, secret, 600)) < 0.1, "it is known to be down by now"
    finally:
        own_server.process.send_signal(signal.SIGCONT)


def test_a_revoked_key_opens_at_most_one_request_after_its_time_and_none_after_twice_that(ledger: Ledger) -> None:
    clock = Clock()
    keys = KeyCache(ledger, 15, clock)
    secret, key = access.create(ledger, "client", "acme")
    keys.find(secret)
    access.revoke(ledger, key.id)
    clock.now_s += 20
    assert keys.stale(secret) is not None
    keys.refresh(secret)
    assert keys.stale(secret) is None
    with pytest.raises(InvalidKey):
        keys.find(secret)
    other, _ = access.create(ledger, "client", "other")
    keys.find(other)
    clock.now_s += 31
    assert keys.stale(other) is None


def test_a_restart_without_the_ledger_lets_in_what_the_process_before_knew(
    own_server: RedisServer, tmp_path: Path
) -> None:
    ledger = Ledger(own_server.url, 0.5)
    secret, key = access.create(ledger, "client", "acme")
    unused, _ = access.create(ledger, "client", "other")
    first = Memory(tmp_path, 3600)
    KeyCache(ledger, 15, memory=first).find(secret)
    first.flush()
    own_server.kill()
    heir = KeyCache(ledger, 15, memory=Memory(tmp_path, 3600))
    assert heir.find(secret) == key
    with pytest.raises(LedgerUnavailable):
        heir.find(unused)


def test_a_restart_asks_the_ledger_first_so_a_revoked_key_is_not_let_in(ledger: Ledger, tmp_path: Path) -> None:
    secret, key = access.create(ledger, "client", "acme")
    memory = Memory(tmp_path, 3600)
    KeyCache(ledger, 15, memory=memory).find(secret)
    access.revoke(ledger, key.id)
    with pytest.raises(InvalidKey):
        KeyCache(ledger, 15, memory=memory).find(secret)
    assert memory.key(access.hash_secret(secret)) is None
