"""The bad-input catalogue, rows 24 to 35: authentication, keys and sessions, against the whole application.

Stated deviations: a key of a megabyte in a header is 431 before anybody reads it (a head has at most 16 KiB); schema
errors are 400, as everywhere; a key has no public id of its own in its secret, so "right secret, other id" is the right
random part behind another role.
"""

import json
import statistics
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from feedback import access, keys, sessions
from feedback.client import Ledger
from feedback.records import utc_now
from serve.door.sessions import COOKIE
from serve.settings import ServeSettings
from tests.conftest import RedisServer
from tests.serve.served import Served, chat, served
from tests.serve.wire import Reply

refused = Reply.refusal
pytestmark = pytest.mark.redis
ROWS = range(24, 36)
CHAT, MODELS, KEYS, SESSIONS = "/v1/chat/completions", "/v1/models", "/v1/operations/keys", "/v1/sessions"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root: Path = tmp_path_factory.mktemp("keys")
    redis = RedisServer(root / "redis")
    redis.start()
    with served(Ledger(redis.url), root, wrong_keys_per_minute=100_000, key_cache_s=0.5) as found:
        yield found
    redis.kill()


def by(site: Served, value: str | None, path: str = MODELS) -> Reply:
    return site.ask("GET", path, authorization=value)


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer   ", "Basic x", "Basic dXNlcjpwYXNz", "ws-client-x", "Bearer:x"]
)
def test_row_24_a_header_without_a_key_is_401(site: Served, value: str | None) -> None:
    assert refused(by(site, value), 401)["code"] == "invalid_api_key"


def test_row_24_the_scheme_may_be_in_lower_case(site: Served) -> None:
    assert by(site, f"bearer {site.keys['client']}").status == 200


def wrong_keys(secret: str) -> list[str]:
    """Return keys that look right, checksum included, and open nothing."""
    body = secret[:-6]
    other = body[:-1] + ("a" if body[-1] != "a" else "b")
    role = body.replace("client", "operator")
    return [other + access.checksum(other), role + access.checksum(role), secret[:-1], body, role + secret[-6:]]


def test_row_25_a_key_that_is_nearly_right_is_401(site: Served) -> None:
    said = {refused(by(site, f"Bearer {wrong}"), 401)["code"] for wrong in wrong_keys(site.keys["client"])}
    assert said == {"invalid_api_key"}
    assert by(site, f"Bearer {site.keys['client']}").status == 200


def test_row_25_a_nearly_right_key_takes_as_long_as_a_wrong_one(ledger: Ledger) -> None:
    secret, _ = access.create(ledger, "client", "acme")
    near = wrong_keys(secret)[0]
    body = "ws-client-" + "z" * 43
    times: dict[str, list[float]] = {near: [], body + access.checksum(body): []}
    for _ in range(300):
        for wrong, seconds in times.items():
            began = time.perf_counter()
            with pytest.raises(access.InvalidKey):
                access.find(ledger, wrong)
            seconds.append(time.perf_counter() - began)
    first, second = (statistics.median(seconds) for seconds in times.values())
    assert abs(first - second) < 0.2 * max(first, second)


def test_row_26_a_revoked_an_expired_and_a_future_key_are_401(site: Served) -> None:
    now = utc_now()
    revoked, key = access.create(site.ledger, "client", "acme")
    access.revoke(site.ledger, key.id)
    expired, _ = access.create(site.ledger, "client", "acme", expires_at=now + timedelta(seconds=0.05))
    future, _ = access.create(site.ledger, "client", "acme", not_before=now + timedelta(hours=1))
    time.sleep(0.06)
    words = [refused(by(site, f"Bearer {secret}"), 401)["message"] for secret in (revoked, expired, future)]
    assert ["revoked" in words[0], "expired" in words[1], "not valid yet" in words[2]] == [True, True, True]


def test_row_26_revocation_bites_within_its_bound_under_load(site: Served) -> None:
    secret, key = access.create(site.ledger, "client", "acme")
    ended: list[float] = []
    revoked_at = [0.0]

    def hammer() -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if site.ask("POST", CHAT, chat(), key=secret).status == 401:
                ended.append(time.monotonic())
                return

    callers = [threading.Thread(target=hammer) for _ in range(4)]
    for caller in callers:
        caller.start()
    time.sleep(0.3)
    assert ended == []
    revoked_at[0] = time.monotonic()
    access.revoke(site.ledger, key.id)
    for caller in callers:
        caller.join(30)
    assert len(ended) == 4
    assert max(ended) - revoked_at[0] < 2 * site.settings.key_cache_s + 1
    assert 2 * ServeSettings.load().key_cache_s <= 30


@pytest.mark.parametrize(
    "secret",
    [
        *("ws-client-\x00", "ws-client-" + "a" * 43 + "\x00", "\u0661\u0662\u0663", "ws-client-\u0661" + "a" * 42),
        *("\u202ews-client-" + "a" * 43, "ws-client-" + "a" * 5000, "' OR 1=1", "ws-*", "ws-client-\udcff"),
    ],
)
def test_row_27_a_key_of_other_characters_or_another_length_is_401(site: Served, secret: str) -> None:
    raw = f"GET {MODELS} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nAuthorization: Bearer ".encode()
    reply = site.raw(raw + secret.encode(errors="surrogateescape") + b"\r\n\r\n")
    refused(reply, 400 if "\x00" in secret else 401)  # a header with a NUL is no HTTP


def test_row_27_a_key_of_a_megabyte_is_cut_at_the_head(site: Served) -> None:
    with site.connect() as connection:
        connection.settimeout(20)
        try:
            connection.sendall(
                f"GET {MODELS} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer ws-{'a' * (1 << 20)}".encode()
            )
            connection.sendall(b"\r\n\r\n")
        except ConnectionError:
            pass
        assert connection.recv(20).startswith(b"HTTP/1.1 431")
    assert by(site, f"Bearer {site.keys['client']}").status == 200


def test_row_28_two_authorization_headers_are_400(site: Served) -> None:
    pair = f"Authorization: Bearer {site.keys['client']}\r\n"
    for lines in (pair * 2, pair + "Authorization: Basic x\r\n"):
        reply = site.raw(f"GET {MODELS} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{lines}\r\n".encode())
        assert refused(reply, 400)["code"] == "doubled_header"


def test_row_29_a_key_in_the_query_or_a_cookie_opens_nothing_and_is_not_logged(
    site: Served, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    secret = site.keys["client"]
    for name in ("key", "api_key", "access_token", "authorization"):
        refused(site.ask("GET", f"{MODELS}?{name}={secret}"), 401)
    for name in (COOKIE, "key", "Authorization"):
        refused(site.ask("GET", MODELS, cookie=f"{name}={secret}"), 401)
    said = capfd.readouterr()
    assert secret not in said.out + said.err + caplog.text
    assert secret not in site.ask("GET", "/metrics").body.decode()


def test_row_30_a_key_of_another_role_is_403(site: Served) -> None:
    for role, method, path, body in (
        ("metrics", "POST", CHAT, chat()),
        ("labeler", "POST", CHAT, chat()),
        ("client", "POST", "/v1/labeling/next", {}),
        ("labeler", "POST", "/v1/operations/promote", {"version": "policy-0001"}),
        ("client", "GET", "/v1/operations/status", None),
        ("operator", "POST", "/v1/labeling/next", {}),
    ):
        assert refused(site.ask(method, path, body, key=site.keys[role]), 403)["code"] == "forbidden"


def test_row_31_a_thousand_wrong_keys_a_minute_are_429_and_a_right_one_still_works(
    ledger: Ledger, tmp_path: Path
) -> None:
    with served(ledger, tmp_path) as strict:
        allowed = strict.settings.wrong_keys_per_minute
        statuses = []
        for number in range(1000):
            body = f"ws-client-{number:043d}"
            reply = strict.ask("GET", MODELS, key=body + access.checksum(body))
            statuses.append(reply.status)
            if reply.status == 429:
                assert 1 <= int(reply.headers["retry-after"]) <= 60
                assert reply.error["code"] == "rate_limit_exceeded"
        assert statuses == [401] * allowed + [429] * (1000 - allowed)
        assert strict.ask("GET", MODELS, key=strict.keys["client"]).status == 200
        assert strict.ask("POST", SESSIONS, {"key": strict.keys["client"]}).status == 201
        assert strict.ask("POST", SESSIONS, {"key": "ws-client-nobody"}).status == 429


@pytest.mark.parametrize(
    "fields",
    [
        *({"role": "superuser"}, {"role": "*"}, {"scope": "*"}, {"requests_per_minute": -1}, {"tokens_per_day": -5}),
        *(
            {"expires_at": "2001-01-01T00:00:00Z"},
            {"owner": "x" * 10_240},
            {"owner": ""},
            {"owner": None},
            {"owner": 7},
        ),
    ],
)
def test_row_32_a_key_that_nobody_should_have_is_not_made(site: Served, fields: dict[str, Any]) -> None:
    before = site.ledger.redis.hlen(keys.API_KEYS)
    refused(site.ask("POST", KEYS, {"role": "client", "owner": "acme", **fields}, key=site.keys["operator"]), 400)
    assert site.ledger.redis.hlen(keys.API_KEYS) == before


def test_row_32_a_hostile_name_is_stored_and_told_as_it_is(site: Served) -> None:
    name = "<script>alert(1)</script>"
    reply = site.ask("POST", KEYS, {"role": "client", "owner": name}, key=site.keys["operator"])
    assert (reply.status, reply.headers["content-type"]) == (201, "application/json")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert json.loads(reply.body)["owner"] == name
    listed = json.loads(site.ask("GET", KEYS, key=site.keys["operator"]).body)
    assert name in [each["owner"] for each in listed]


def test_row_33_others_keys_do_not_exist_and_the_last_operator_key_stays(site: Served) -> None:
    _, foreign = access.create(site.ledger, "client", "somebody-else")
    path = f"/v1/keys/{foreign.id}/revoke"
    theirs = refused(site.ask("POST", path, key=site.keys["client"]), 404)
    nobodys = refused(site.ask("POST", "/v1/keys/key_none/revoke", key=site.keys["client"]), 404)
    assert theirs["message"].replace(foreign.id, "key_none") == nobodys["message"]
    own = next(key.id for key in access.list_keys(site.ledger) if key.role == "operator" and key.revoked_at is None)
    for last in (f"{KEYS}/{own}/revoke", f"/v1/keys/{own}/revoke"):
        refused(site.ask("POST", last, key=site.keys["operator"]), 409)
    assert access.find(site.ledger, site.keys["operator"]).id == own


def sign_in(site: Served, cookie: str | None = None) -> tuple[str, str]:
    """Return the session's secret and its CSRF token."""
    reply = site.ask("POST", SESSIONS, {"key": site.keys["client"]}, cookie=cookie)
    assert reply.status == 201
    secret = reply.headers["set-cookie"].partition(";")[0].removeprefix(f"{COOKIE}=")
    return secret, json.loads(reply.body)["csrf_token"]


def test_row_34_a_session_that_was_tampered_with_or_fixed_opens_nothing(site: Served) -> None:
    secret, _ = sign_in(site)
    assert site.ask("GET", MODELS, cookie=f"{COOKIE}={secret}").status == 200
    fixed = "wss-" + "f" * 43
    for wrong in (secret[:-1] + ("a" if secret[-1] != "a" else "b"), secret + "a", secret.upper(), fixed, "", "wss-"):
        refused(site.ask("GET", MODELS, cookie=f"{COOKIE}={wrong}"), 401)
    mine, _ = sign_in(site, cookie=f"{COOKIE}={fixed}")
    assert mine != fixed
    refused(site.ask("GET", MODELS, cookie=f"{COOKIE}={fixed}"), 401)


def test_row_34_a_new_sign_in_ends_the_session_before_and_sign_out_ends_this_one(site: Served) -> None:
    first, _ = sign_in(site)
    second, token = sign_in(site, cookie=f"{COOKIE}={first}")
    refused(site.ask("GET", MODELS, cookie=f"{COOKIE}={first}"), 401)
    cookie, origin = f"{COOKIE}={second}", site.url
    refused(site.ask("DELETE", SESSIONS, cookie=cookie, origin=origin), 403)
    refused(site.ask("DELETE", SESSIONS, cookie=cookie, x_csrf_token=token), 403)
    refused(site.ask("DELETE", SESSIONS, cookie=cookie, x_csrf_token=token, origin="http://evil.test"), 403)
    assert site.ask("DELETE", SESSIONS, cookie=cookie, x_csrf_token=token, origin=origin).status == 204
    refused(site.ask("GET", MODELS, cookie=cookie), 401)


def test_row_34_completions_by_cookie_need_the_token_and_the_origin_too(site: Served) -> None:
    secret, token = sign_in(site)
    cookie = f"{COOKIE}={secret}"
    refused(site.ask("POST", CHAT, chat(), cookie=cookie, origin=site.url), 403)
    refused(site.ask("POST", CHAT, chat(), cookie=cookie, x_csrf_token=token, origin="null"), 403)
    assert site.ask("POST", CHAT, chat(), cookie=cookie, x_csrf_token=token, origin=site.url).status == 200
    assert sessions.csrf_token(secret) == token


@pytest.mark.parametrize("size", [201, 100_000, 1 << 20])
def test_row_35_a_password_of_a_megabyte_is_refused_before_hashing(
    site: Served, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    plain = access.hash_secret
    monkeypatch.setattr(
        access, "hash_secret", lambda secret, pepper="": hashed.append(len(secret)) or plain(secret, pepper)
    )
    reply = site.ask("POST", SESSIONS, {"key": "w" * size})
    refused(reply, 413 if size == 1 << 20 else 400)  # with its quotes a megabyte is over the limit of any body
    assert [length for length in hashed if length > 200] == []


def test_every_row_has_a_test() -> None:
    source = Path(__file__).read_text()
    assert [row for row in ROWS if f"row_{row}_" not in source] == []
