"""Browser sessions: worth what their key is worth, ended by idling, age, sign-out and revocation."""

import time
from datetime import timedelta

import msgspec
import pytest

from feedback import access, keys, sessions
from feedback.client import Ledger, encode
from feedback.errors import InvalidKey
from feedback.records import utc_now

IDLE_S = 60.0


def test_a_session_stands_for_its_key_until_it_ends(ledger: Ledger) -> None:
    _, key = access.create(ledger, "client", "acme")
    secret, session = sessions.open_session(ledger, key, idle_s=IDLE_S, longest_s=3600)
    assert sessions.find(ledger, secret, IDLE_S) == (key, session.ends_at)
    assert timedelta(seconds=3590) < session.ends_at - utc_now() <= timedelta(seconds=3600)


def test_each_session_has_a_secret_of_its_own_that_is_stored_nowhere(ledger: Ledger) -> None:
    _, key = access.create(ledger, "client", "acme")
    made = [sessions.open_session(ledger, key, idle_s=IDLE_S, longest_s=3600)[0] for _ in range(3)]
    assert len(set(made)) == 3
    stored = [*ledger.redis.keys(), *(ledger.redis.get(place) for place in ledger.redis.keys("ws:session:*"))]
    assert len(stored) == 1 + 3 + 3
    assert not [text for text in stored for secret in made if secret in text or secret[4:] in text]


def test_use_puts_the_idle_end_off_and_age_ends_it_anyway(ledger: Ledger) -> None:
    _, key = access.create(ledger, "client", "acme")
    secret, session = sessions.open_session(ledger, key, idle_s=0.4, longest_s=3600)
    place = keys.session(access.hash_secret(secret))
    assert 0 < int(ledger.redis.pttl(place)) <= 400
    sessions.find(ledger, secret, IDLE_S)
    assert int(ledger.redis.pttl(place)) > 50_000
    old = msgspec.structs.replace(session, ends_at=utc_now() - timedelta(seconds=1))
    ledger.redis.set(place, encode(old))
    with pytest.raises(InvalidKey, match="ended"):
        sessions.find(ledger, secret, IDLE_S)


def test_an_idle_session_is_gone(ledger: Ledger) -> None:
    _, key = access.create(ledger, "client", "acme")
    secret, _ = sessions.open_session(ledger, key, idle_s=0.05, longest_s=3600)
    deadline = time.monotonic() + 5
    while ledger.redis.keys("ws:session:*") and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(InvalidKey):
        sessions.find(ledger, secret, IDLE_S)


def test_a_closed_session_and_one_of_a_revoked_key_open_nothing(ledger: Ledger) -> None:
    _, key = access.create(ledger, "client", "acme")
    first, _ = sessions.open_session(ledger, key, idle_s=IDLE_S, longest_s=3600)
    second, _ = sessions.open_session(ledger, key, idle_s=IDLE_S, longest_s=3600)
    sessions.close(ledger, first)
    sessions.close(ledger, first)
    with pytest.raises(InvalidKey, match="ended"):
        sessions.find(ledger, first, IDLE_S)
    assert sessions.find(ledger, second, IDLE_S)[0] == key
    access.revoke(ledger, key.id)
    with pytest.raises(InvalidKey, match="revoked"):
        sessions.find(ledger, second, IDLE_S)


@pytest.mark.parametrize("secret", ["", "wss-", "wss-" + "a" * 43, "ws-client-" + "a" * 43, "wss-" + "é" * 43])
def test_a_secret_that_was_not_made_here_opens_nothing(ledger: Ledger, secret: str) -> None:
    with pytest.raises(InvalidKey):
        sessions.find(ledger, secret, IDLE_S)


def test_the_csrf_token_belongs_to_one_session() -> None:
    assert sessions.csrf_token("wss-a") == sessions.csrf_token("wss-a")
    assert sessions.csrf_token("wss-a") != sessions.csrf_token("wss-b")
    assert len(sessions.csrf_token("wss-a")) == 43
