"""Keys on a real ledger: found, cached, revoked, and known while the ledger is down."""

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from feedback import access, sessions
from feedback.client import Ledger
from feedback.errors import Forbidden, InvalidKey, LedgerUnavailable
from feedback.records import utc_now
from serve.auth import DOWN_S, KeyCache, Known, authenticate, authenticate_async, bearer, keep_used
from serve.errors import InvalidRequest
from serve.sessions import COOKIE
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


def test_missing_header_is_an_invalid_key_and_a_doubled_one_an_invalid_request() -> None:
    with pytest.raises(InvalidKey):
        bearer(Headers({}))
    with pytest.raises(InvalidRequest, match="exactly one"):
        bearer(Headers(raw=[(b"authorization", b"Bearer ws-a"), (b"authorization", b"Bearer ws-b")]))


def test_scheme_is_read_without_regard_to_case(ledger: Ledger) -> None:
    secret, _ = access.create(ledger, "client", "acme")
    assert bearer(Headers({"authorization": f"bEaReR  {secret} "})) == secret


def test_a_mistyped_key_is_refused_without_the_ledger(ledger: Ledger) -> None:
    secret, _ = access.create(ledger, "client", "acme")
    keys = KeyCache(Ledger("redis://127.0.0.1:1/0", timeout_s=0.2))
    with pytest.raises(InvalidKey):
        authenticate(carrying(secret[:-1] + "_"), ("client",), keys)
    with pytest.raises(LedgerUnavailable):
        authenticate(carrying(secret), ("client",), keys)


class Browser:
    """A session, and the headers that a page of ours would send with it."""

    def __init__(self, ledger: Ledger, role: str = "client") -> None:
        _, self.key = access.create(ledger, role, "acme")
        self.secret, self.session = sessions.open_session(ledger, self.key, idle_s=60, longest_s=3600)

    def headers(self, **changed: str | None) -> Headers:
        sent: dict[str, str | None] = {
            "host": "here:8000",
            "origin": "http://here:8000",
            "cookie": f"theme=dark; {COOKIE}={self.secret}",
            "x-csrf-token": sessions.csrf_token(self.secret),
        }
        return Headers({name: value for name, value in (sent | changed).items() if value is not None})


def test_a_session_with_its_token_from_its_origin_is_its_key(ledger: Ledger) -> None:
    browser = Browser(ledger)
    assert authenticate(browser.headers(), ("client",), KeyCache(ledger)) == browser.key
    with pytest.raises(Forbidden, match="role labeler"):
        authenticate(browser.headers(), ("labeler",), KeyCache(ledger))


@pytest.mark.parametrize(
    "changed",
    [
        {"x-csrf-token": None},
        {"x-csrf-token": "A" * 43},
        {"x-csrf-token": "é"},
        {"origin": None},
        {"origin": "null"},
        {"origin": "http://there:8000"},
        {"origin": "http://here:8001"},
        {"origin": "file://here:8000"},
    ],
)
def test_a_request_that_no_page_of_ours_sent_changes_nothing(ledger: Ledger, changed: dict[str, str | None]) -> None:
    browser, keys = Browser(ledger), KeyCache(ledger)
    with pytest.raises(Forbidden):
        authenticate(browser.headers(**changed), ("client",), keys)
    with pytest.raises(Forbidden):
        asyncio.run(authenticate_async(browser.headers(**changed), ("client",), keys))
    assert authenticate(browser.headers(**changed), ("client",), keys, safe=True) == browser.key


def test_neither_a_key_as_a_cookie_nor_a_session_as_a_bearer_opens_anything(ledger: Ledger) -> None:
    browser, keys = Browser(ledger), KeyCache(ledger)
    secret, _ = access.create(ledger, "client", "acme")
    for headers in (browser.headers(cookie=f"{COOKIE}={secret}"), carrying(browser.secret), Headers({})):
        with pytest.raises(InvalidKey):
            authenticate(headers, ("client",), keys, safe=True)


def test_a_bearer_key_goes_before_the_cookie_and_needs_no_token(ledger: Ledger) -> None:
    browser, keys = Browser(ledger), KeyCache(ledger)
    secret, key = access.create(ledger, "operator", "olga")
    headers = browser.headers(authorization=f"Bearer {secret}", origin=None)
    assert authenticate(headers, ("operator",), keys) == key


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
    known, unknown = Browser(ledger), Browser(ledger)
    keys.find(known.secret)
    own_server.kill()
    clock.now_s += 1000
    assert keys.find(known.secret) == known.key
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
    monkeypatch.setattr("serve.auth.MAX_KNOWN", 3)
    keys = KeyCache(ledger)
    secrets = [access.create(ledger, "client", "acme")[0] for _ in range(5)]
    for secret in secrets:
        keys.find(secret)
    assert [keys.cached(secret) is not None for secret in secrets] == [False, False, True, True, True]


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
