"""API keys: shown once, stored as a hash, useless once revoked or expired."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import msgspec
import pytest

from feedback import access, keys
from feedback.client import Ledger, encode
from feedback.errors import ConfigError, Conflict, InvalidKey, NotFound
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
    with pytest.raises(NotFound, match="key_nobody"):
        access.revoke(ledger, "key_nobody")


def test_the_last_usable_operator_key_stays(ledger: Ledger) -> None:
    _, last = access.create(ledger, "operator", "olga")
    _, later = access.create(ledger, "operator", "otto", not_before=utc_now() + timedelta(hours=1))
    with pytest.raises(Conflict, match="last usable operator key"):
        access.revoke(ledger, last.id)
    access.revoke(ledger, later.id)  # it does not work yet, so nobody loses anything
    _, second = access.create(ledger, "operator", "otto")
    access.revoke(ledger, last.id)
    with pytest.raises(Conflict):
        access.revoke(ledger, second.id)


def test_of_two_operators_that_revoke_each_other_at_once_one_stays(ledger: Ledger) -> None:
    for _ in range(10):
        ledger.redis.flushall()
        ids = [access.create(ledger, "operator", owner)[1].id for owner in ("olga", "otto")]
        start = Barrier(2)

        def revoke(id: str, start: Barrier = start) -> bool:
            start.wait(5)
            try:
                access.revoke(Ledger(ledger.url), id)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(revoke, ids)) == [False, True]


def test_a_change_of_quotas_never_brings_a_revoked_key_back(ledger: Ledger) -> None:
    _, made = access.create(ledger, "client", "acme")
    access.revoke(ledger, made.id)
    changed = access.adjust(ledger, made.id, consent=False, tokens_per_day=7)
    assert changed.revoked_at is not None
    assert (changed.consent, changed.tokens_per_day, changed.requests_per_minute) == (False, 7, 0)
    assert access.list_keys(ledger) == [changed]
    with pytest.raises(NotFound):
        access.adjust(ledger, "key_nobody", consent=True)


def test_a_checksum_tells_a_mistyped_key_without_the_ledger(ledger: Ledger) -> None:
    secret, _ = access.create(ledger, "client", "acme")
    assert access.well_formed(secret)
    unreachable = Ledger("redis://127.0.0.1:1/0", timeout_s=0.2)
    for place in range(len("ws-client-"), len(secret)):
        mistyped = secret[:place] + ("a" if secret[place] != "a" else "b") + secret[place + 1 :]
        assert not access.well_formed(mistyped)
    with pytest.raises(InvalidKey):
        access.find(unreachable, secret[:-1])
    with pytest.raises(InvalidKey):
        access.find(unreachable, secret.replace("client", "operator"))


def test_a_key_from_before_checksums_still_opens(ledger: Ledger) -> None:
    secret, made = access.create(ledger, "client", "acme")
    old = secret[:-6]
    moved = msgspec.structs.replace(made, secret_sha256=access.hash_secret(old))
    ledger.redis.hset(keys.API_KEYS, moved.secret_sha256, encode(moved))
    assert access.find(ledger, old) == moved


def test_with_a_pepper_the_stored_hash_alone_proves_nothing(ledger: Ledger) -> None:
    peppered = Ledger(ledger.url, pepper="salt is not enough")
    secret, made = access.create(peppered, "client", "acme")
    assert access.find(peppered, secret) == made
    assert made.secret_sha256 != access.hash_secret(secret)
    with pytest.raises(InvalidKey):
        access.find(ledger, secret)


def test_a_key_opens_nothing_before_its_moment(ledger: Ledger) -> None:
    moment = utc_now() + timedelta(hours=1)
    secret, made = access.create(ledger, "client", "acme", not_before=moment)
    with pytest.raises(InvalidKey, match="not valid yet"):
        access.find(ledger, secret)
    access.check_usable(made, moment)
    assert (access.state(made, utc_now()), access.state(made, moment)) == ("not yet valid", "valid")


@pytest.mark.parametrize(
    "fields",
    [
        {"requests_per_minute": -1},
        {"tokens_per_day": -1},
        {"expires_at": utc_now() - timedelta(days=1)},
        {"not_before": utc_now() + timedelta(days=2), "expires_at": utc_now() + timedelta(days=1)},
    ],
)
def test_a_key_that_could_never_work_is_refused(ledger: Ledger, fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        access.create(ledger, "client", "acme", **fields)
    assert access.list_keys(ledger) == []


def test_last_use_is_kept_beside_the_keys(ledger: Ledger) -> None:
    _, made = access.create(ledger, "client", "acme")
    access.note_used(ledger, {})
    assert access.last_used(ledger) == {}
    access.note_used(ledger, {made.id: 1_700_000_000})
    assert access.last_used(ledger) == {made.id: 1_700_000_000}


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


def test_skills_are_kept_and_changed_as_a_whole(ledger: Ledger) -> None:
    secret, key = access.create(ledger, "labeler", "lee", skills=["medicine", "lang:de", "medicine"])
    assert access.find(ledger, secret).skills == ["lang:de", "medicine"]
    assert access.adjust(ledger, key.id, consent=False).skills == ["lang:de", "medicine"]
    assert access.adjust(ledger, key.id, skills=["law"]).skills == ["law"]
    assert access.adjust(ledger, key.id, skills=[]).skills == []


def test_a_customer_is_unwilling_only_if_every_key_that_speaks_for_them_says_no(ledger: Ledger) -> None:
    assert access.withdrawn(ledger) == (frozenset(), frozenset())
    _, no = access.create(ledger, "client", "acme", consent=False)
    access.create(ledger, "labeler", "lee", consent=False)
    found = access.withdrawn(ledger)
    assert found == (frozenset({no.id}), frozenset({"acme"}))
    assert found.covers("acme")
    assert found.covers("other", no.id)
    assert not found.covers("other", "key_x")
    _, yes = access.create(ledger, "client", "acme")
    assert access.withdrawn(ledger).customers == frozenset(), "one key says yes"
    access.revoke(ledger, yes.id)
    assert access.withdrawn(ledger).customers == {"acme"}, "and it does not speak any more"


def test_whose_keys_are_all_revoked_is_still_heard(ledger: Ledger) -> None:
    _, yes = access.create(ledger, "client", "acme")
    _, no = access.create(ledger, "client", "other", consent=False)
    for key in (yes, no):
        access.revoke(ledger, key.id)
    assert access.withdrawn(ledger).customers == {"other"}
