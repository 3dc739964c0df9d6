"""Requests with keys and sessions: let in by role, refused in all the ways that there are."""

import asyncio

import pytest
from starlette.datastructures import Headers

from feedback import access, sessions
from feedback.client import Ledger
from feedback.errors import Forbidden, InvalidKey, LedgerUnavailable
from serve.door.auth import authenticate, authenticate_async, bearer
from serve.door.keycache import KeyCache
from serve.door.sessions import COOKIE
from serve.errors import InvalidRequest

pytestmark = pytest.mark.redis


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
