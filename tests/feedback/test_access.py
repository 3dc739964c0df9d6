"""API keys: shown once, stored as a hash, useless once revoked or expired."""

from datetime import timedelta

import pytest

from feedback import access, keys
from feedback.client import Ledger
from feedback.errors import ConfigError, InvalidKey
from feedback.records import Role, utc_now


@pytest.mark.parametrize("role", access.ROLES)
def test_a_new_key_opens_the_role_that_it_was_made_for(ledger: Ledger, role: Role) -> None:
    secret, made = access.create(ledger, role, "acme")
    assert secret.startswith(f"ws-{role}-")
    assert access.find(ledger, secret) == made
    assert (made.role, made.owner) == (role, "acme")


def test_the_secret_is_stored_nowhere(ledger: Ledger) -> None:
    secret, made = access.create(ledger, "client", "acme")
    stored = str(ledger.redis.hgetall(keys.API_KEYS))
    assert secret not in stored
    assert secret.removeprefix("ws-client-") not in stored
    assert secret not in repr(made)


def test_secrets_are_never_alike(ledger: Ledger) -> None:
    assert len({access.create(ledger, "client", "acme")[0] for _ in range(50)}) == 50


@pytest.mark.parametrize("secret", ["", "ws-client-", "ws-client-wrong", "x" * 10_000, "\x00", "é", "' OR 1=1"])
def test_an_unknown_secret_opens_nothing(ledger: Ledger, secret: str) -> None:
    access.create(ledger, "client", "acme")
    with pytest.raises(InvalidKey, match="no such API key"):
        access.find(ledger, secret)


def test_a_secret_with_one_letter_changed_opens_nothing(ledger: Ledger) -> None:
    secret, _ = access.create(ledger, "client", "acme")
    with pytest.raises(InvalidKey):
        access.find(ledger, secret[:-1] + ("a" if secret[-1] != "a" else "b"))


def test_a_revoked_key_opens_nothing_and_revoking_again_keeps_the_first_moment(ledger: Ledger) -> None:
    secret, made = access.create(ledger, "client", "acme")
    first = access.revoke(ledger, made.id)
    assert access.revoke(ledger, made.id).revoked_at == first.revoked_at
    with pytest.raises(InvalidKey, match=f"{made.id} was revoked"):
        access.find(ledger, secret)


def test_revoking_an_unknown_key_says_so(ledger: Ledger) -> None:
    with pytest.raises(InvalidKey, match="key_nobody"):
        access.revoke(ledger, "key_nobody")


def test_a_key_expires_at_its_moment_and_not_before(ledger: Ledger) -> None:
    moment = utc_now() + timedelta(hours=1)
    secret, made = access.create(ledger, "client", "acme", expires_at=moment)
    assert access.find(ledger, secret) == made
    access.check_usable(made, moment - timedelta(microseconds=1))
    with pytest.raises(InvalidKey, match="expired"):
        access.check_usable(made, moment)


@pytest.mark.parametrize("role", ["", "admin", "CLIENT", "client "])
def test_an_unknown_role_is_refused_with_the_ones_that_exist(ledger: Ledger, role: str) -> None:
    with pytest.raises(ConfigError, match="client, labeler, operator, metrics"):
        access.create(ledger, role, "acme")


@pytest.mark.parametrize("owner", ["", "  ", "\n"])
def test_a_key_of_nobody_is_refused(ledger: Ledger, owner: str) -> None:
    with pytest.raises(ConfigError, match="owner is empty"):
        access.create(ledger, "client", owner)


def test_keys_are_listed_oldest_first_with_what_was_set(ledger: Ledger) -> None:
    access.create(ledger, "labeler", "lee", group="held-out")
    access.create(ledger, "client", "acme", consent=False)
    first, second = access.list_keys(ledger)
    assert (first.owner, first.group) == ("lee", "held-out")
    assert (second.owner, second.consent) == ("acme", False)
