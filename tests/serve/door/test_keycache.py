"""Keys on a real ledger: found, cached, revoked, and known while the ledger is down."""

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from feedback import access, sessions
from feedback.client import Ledger
from feedback.errors import InvalidKey, LedgerUnavailable
from feedback.records import utc_now
from serve.door.keycache import DOWN_S, KeyCache, Known, keep_used
from serve.server import _reach
from serve.settings import ServeSettings
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


class Browser:
    """A session and its key."""

    def __init__(self, ledger: Ledger) -> None:
        _, self.key = access.create(ledger, "client", "acme")
        self.secret, self.session = sessions.open_session(ledger, self.key, idle_s=60, longest_s=3600)


def test_revoked_key_stops_within_the_time_to_live(ledger: Ledger) -> None:
    clock = Clock()
    keys = KeyCache(ledger, ttl_s=15, now=clock)
    secret, key = access.create(ledger, "client", "acme")
    assert keys.find(secret) == key
    access.revoke(ledger, key.id)
    clock.now_s += 14
    assert keys.find(secret) == key
    clock.now_s += 2
    with pytest.raises(InvalidKey, match="revoked"):
        keys.find(secret)
    assert keys.cached(secret) is None


def test_expired_key_stops_at_once_even_when_cached(ledger: Ledger) -> None:
    secret, _ = access.create(ledger, "client", "acme", expires_at=utc_now() + timedelta(seconds=0.2))
    keys = KeyCache(ledger, ttl_s=3600)
    keys.find(secret)
    time.sleep(0.25)
    with pytest.raises(InvalidKey, match="expired"):
        keys.find(secret)


def test_known_keys_work_while_the_ledger_is_down_and_unknown_ones_cannot_be_judged(own_server: RedisServer) -> None:
    clock = Clock()
    ledger = Ledger(own_server.url, timeout_s=0.5)
    keys = KeyCache(ledger, ttl_s=15, now=clock)
    known, key = access.create(ledger, "client", "acme")
    stranger, other = access.create(ledger, "client", "beta")
    keys.find(known)
    own_server.kill()
    clock.now_s += 1000
    assert keys.find(known) == key
    assert keys.find(known) == key
    with pytest.raises(LedgerUnavailable):
        keys.find(stranger)
    own_server.start()
    clock.now_s += DOWN_S + 1
    assert keys.find(stranger) == other


def test_strangers_do_not_fill_the_cache(ledger: Ledger) -> None:
    keys = KeyCache(ledger)
    for number in range(100):
        with pytest.raises(InvalidKey):
            keys.find(f"ws-client-{number}")
    assert len(keys._known) == 0


def test_a_session_ends_with_sign_out_revocation_and_age(ledger: Ledger) -> None:
    keys = KeyCache(ledger, ttl_s=3600)
    signed_out, revoked = Browser(ledger), Browser(ledger)
    for browser in (signed_out, revoked):
        keys.find(browser.secret)
        assert keys.ends_at(browser.secret) == browser.session.ends_at
    sessions.close(ledger, signed_out.secret)
    access.revoke(ledger, revoked.key.id)
    for browser in (signed_out, revoked):
        keys.forget(browser.secret)
        with pytest.raises(InvalidKey):
            keys.find(browser.secret)
    known = Known(signed_out.key, utc_now(), 0.0)
    with pytest.raises(InvalidKey, match="ended"):
        known.check()


def test_known_sessions_work_while_the_ledger_is_down(own_server: RedisServer) -> None:
    clock = Clock()
    ledger = Ledger(own_server.url, timeout_s=0.5)
    keys = KeyCache(ledger, ttl_s=15, now=clock)
    known, fresh, unknown = Browser(ledger), Browser(ledger), Browser(ledger)
    keys.find(known.secret)
    keys.learn(fresh.secret, fresh.key, fresh.session.ends_at)
    own_server.kill()
    clock.now_s += 1000
    assert keys.find(known.secret) == known.key
    assert keys.find(fresh.secret) == fresh.key
    with pytest.raises(LedgerUnavailable):
        keys.find(unknown.secret)


def test_last_use_is_told_beside_the_requests(ledger: Ledger) -> None:
    keys = KeyCache(ledger)
    used, key = access.create(ledger, "client", "acme")
    access.create(ledger, "client", "beta")
    keys.find(used)
    assert access.last_used(ledger) == {}

    async def until_told() -> None:
        telling = asyncio.create_task(keep_used(keys, 0.01))
        while not access.last_used(ledger):
            await asyncio.sleep(0.01)
        telling.cancel()

    asyncio.run(asyncio.wait_for(until_told(), 10))
    assert list(access.last_used(ledger)) == [key.id]
    assert abs(access.last_used(ledger)[key.id] - time.time()) < 10


def test_the_cache_keeps_a_bounded_number(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.door.keycache.MAX_KNOWN", 3)
    keys = KeyCache(ledger)
    secrets = [access.create(ledger, "client", "acme")[0] for _ in range(5)]
    for secret in secrets:
        keys.find(secret)
    assert [keys.cached(secret) is not None for secret in secrets] == [False, False, True, True, True]


def test_a_peppered_ledger_is_asked_with_its_pepper(redis_server: RedisServer, ledger: Ledger, tmp_path: Path) -> None:
    settings = ServeSettings.load(ledger_url=redis_server.url, key_pepper="a pinch")
    peppered = Ledger.of(settings)
    assert _reach(settings, tmp_path).pepper == peppered.pepper == "a pinch"
    secret, key = access.create(peppered, "client", "acme")
    opened, _ = sessions.open_session(peppered, key, idle_s=60, longest_s=3600)
    assert KeyCache(peppered).find(secret) == KeyCache(peppered).find(opened) == key
    for other in (secret, opened):
        with pytest.raises(InvalidKey):
            KeyCache(ledger).find(other)
