"""Keys on a real ledger: found, cached, revoked, and known while the ledger is down."""

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from feedback import access
from feedback.client import Ledger
from feedback.errors import Forbidden, InvalidKey, LedgerUnavailable
from feedback.records import utc_now
from serve.auth import DOWN_S, KeyCache, authenticate, authenticate_async, bearer
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


def test_key_of_the_right_role_is_let_in(ledger: Ledger) -> None:
    secret, key = access.create(ledger, "labeler", "ada", group="training")
    assert authenticate(carrying(secret), ("labeler",), KeyCache(ledger)) == key


async def _let_in(ledger: Ledger, secret: str) -> str:
    keys = KeyCache(ledger)
    first = await authenticate_async(carrying(secret), ("client",), keys)
    again = await authenticate_async(carrying(secret), ("client",), keys)
    assert first == again
    return first.owner


def test_pure_asgi_callers_get_the_same_answer(ledger: Ledger) -> None:
    secret, _ = access.create(ledger, "client", "acme")
    assert asyncio.run(_let_in(ledger, secret)) == "acme"


def test_key_of_another_role_is_forbidden(ledger: Ledger) -> None:
    secret, _ = access.create(ledger, "client", "acme")
    with pytest.raises(Forbidden, match="role labeler; yours is of role client"):
        authenticate(carrying(secret), ("labeler",), KeyCache(ledger))


@pytest.mark.parametrize(
    "value",
    [
        *("", "Bearer", "Bearer   ", "Basic x", "ws-client-abc", "Bearer sk-abc", "Bearer ws-" + "a" * (1 << 20)),
        *("Bearer ws-client-nobody", "Bearer ws-\x00", "Bearer ws-١٢", "Token ws-client-abc"),
    ],
)
def test_header_that_opens_nothing_is_an_invalid_key(ledger: Ledger, value: str) -> None:
    headers = Headers(raw=[(b"authorization", value.encode())])
    with pytest.raises(InvalidKey):
        authenticate(headers, ("client",), KeyCache(ledger))


def test_missing_or_doubled_header_is_an_invalid_key() -> None:
    with pytest.raises(InvalidKey):
        bearer(Headers({}))
    with pytest.raises(InvalidKey):
        bearer(Headers(raw=[(b"authorization", b"Bearer ws-a"), (b"authorization", b"Bearer ws-b")]))


def test_scheme_is_read_without_regard_to_case() -> None:
    assert bearer(Headers({"authorization": "bEaReR  ws-client-x "})) == "ws-client-x"


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
