"""API keys: made once, shown once, stored as a hash, changed under a watch so that no change undoes another.

Knows who a secret stands for; does not know what a role may do (the routes say that) and keeps no cache.

A secret is ``ws-<role>-<43 random characters><6 characters of checksum>``. The checksum covers everything before it, so
a mistyped key is refused without asking the ledger, and a leaked one can be recognised. Keys made before there was a
checksum have only the 43 characters; they are looked up as they are.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

import msgspec

from feedback import keys
from feedback.client import Ledger, decode, encode
from feedback.errors import ConfigError, Conflict, InvalidKey, NotFound
from feedback.ids import new_id
from feedback.records import ApiKey, Role, utc_now

ROLES: tuple[Role, ...] = ("client", "labeler", "operator", "metrics")
PREFIX = "ws"
SHAPE = re.compile(rf"{PREFIX}-({'|'.join(ROLES)})-[A-Za-z0-9_-]{{43}}([0-9A-Za-z]{{6}})?")
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def checksum(text: str) -> str:
    """Return the CRC32 of a text as six base-62 digits."""
    rest, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, len(BASE62))
        digits = BASE62[digit] + digits
    return digits


def well_formed(secret: str) -> bool:
    """Tell whether ``secret`` can be a key at all: its shape, and its checksum where it has one."""
    found = SHAPE.fullmatch(secret)
    return found is not None and (found[2] is None or checksum(secret[:-6]) == found[2])


def hash_secret(secret: str, pepper: str = "") -> str:
    """Return the SHA-256 under which a secret is stored, keyed with the pepper if there is one.

    Secrets have 256 random bits, so they need no salt and no slow hash.
    """
    raw = secret.encode(errors="replace")
    return hmac.new(pepper.encode(), raw, "sha256").hexdigest() if pepper else hashlib.sha256(raw).hexdigest()


def create(
    ledger: Ledger,
    role: str,
    owner: str,
    *,
    group: str = "",
    skills: Sequence[str] = (),
    consent: bool = True,
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
    requests_per_minute: int = 0,
    tokens_per_day: int = 0,
) -> tuple[str, ApiKey]:
    """Make a key and return (secret, record); the secret cannot be shown again.

    Args:
        ledger: where the key's hash is kept.
        role: what the key may do, see `ROLES`.
        owner: customer, labeler or operator that the key stands for.
        group: labeler group.
        skills: what a labeler may be given beyond the ordinary, such as ``lang:de``.
        consent: may this customer's prompts be used for training?
        not_before: when the key begins to work; at once by default.
        expires_at: when it stops; never by default.
        requests_per_minute: quota; 0 for the serving process's default.
        tokens_per_day: quota; 0 for the serving process's default.

    Raises:
        ConfigError: unknown role, empty owner, negative quota, or a time in which the key would never work.
    """
    if role not in ROLES:
        raise ConfigError(f"role {role!r} is unknown; choose one of {', '.join(ROLES)}")
    if not owner.strip():
        raise ConfigError("owner is empty; name the customer, labeler or operator that the key stands for")
    if min(requests_per_minute, tokens_per_day) < 0:
        raise ConfigError("a quota is negative; 0 stands for the default")
    now = utc_now()
    if expires_at is not None and expires_at <= max(now, not_before or now):
        raise ConfigError("the key would expire before it works")
    body = f"{PREFIX}-{role}-{secrets.token_urlsafe(32)}"
    secret = body + checksum(body)
    key = ApiKey(
        id=new_id("key"),
        role=role,
        owner=owner,
        secret_sha256=hash_secret(secret, ledger.pepper),
        group=group,
        skills=sorted(set(skills)),
        consent=consent,
        created_at=now,
        not_before=not_before,
        expires_at=expires_at,
        requests_per_minute=requests_per_minute,
        tokens_per_day=tokens_per_day,
    )
    with ledger.reach() as client:
        client.hset(keys.API_KEYS, key.secret_sha256, encode(key))
    return secret, key


def find(ledger: Ledger, secret: str) -> ApiKey:
    """Return the key that ``secret`` opens.

    Raises:
        InvalidKey: no such key, or it is revoked, expired or not yet valid.
    """
    if not well_formed(secret):
        raise InvalidKey("no such API key; was it copied in full?")
    return by_digest(ledger, hash_secret(secret, ledger.pepper))


def by_digest(ledger: Ledger, digest: str) -> ApiKey:
    """Return the usable key that is stored under a hash.

    Raises:
        InvalidKey: no such key, or it is revoked, expired or not yet valid.
    """
    key = ledger.hget(keys.API_KEYS, digest, ApiKey)
    # compared in either case, so that a stranger's key and a known one take the same time
    same = hmac.compare_digest(key.secret_sha256 if key is not None else "0" * 64, digest)
    if key is None or not same:
        raise InvalidKey("no such API key; make one with `whetstone keys create`")
    check_usable(key, utc_now())
    return key


def check_usable(key: ApiKey, now: datetime) -> None:
    """Raise `InvalidKey` if the key is revoked, expired or not yet valid at ``now``."""
    if key.revoked_at is not None:
        raise InvalidKey(f"API key {key.id} was revoked")
    if key.expires_at is not None and key.expires_at <= now:
        raise InvalidKey(f"API key {key.id} expired")
    if key.not_before is not None and now < key.not_before:
        raise InvalidKey(f"API key {key.id} is not valid yet")


def state(key: ApiKey, now: datetime) -> str:
    """Return ``valid``, ``revoked``, ``expired`` or ``not yet valid``."""
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now:
        return "expired"
    return "not yet valid" if key.not_before is not None and now < key.not_before else "valid"


def revoke(ledger: Ledger, key_id: str) -> ApiKey:
    """Revoke the key with this id and return it; a key that is revoked already stays as it is.

    Raises:
        NotFound: no key has this id.
        Conflict: it is the last usable key of an operator; without one nobody could make another over the API.
    """

    def revoked(key: ApiKey, everyone: list[ApiKey]) -> ApiKey:
        now = utc_now()
        usable = [each.id for each in everyone if each.role == "operator" and state(each, now) == "valid"]
        if usable == [key.id]:
            raise Conflict(f"{key.id} is the last usable operator key; make another one before you revoke it")
        return msgspec.structs.replace(key, revoked_at=key.revoked_at or now)

    return _change(ledger, key_id, revoked)


def adjust(
    ledger: Ledger,
    key_id: str,
    *,
    consent: bool | None = None,
    skills: Sequence[str] | None = None,
    requests_per_minute: int | None = None,
    tokens_per_day: int | None = None,
) -> ApiKey:
    """Change a key's consent, skills or quotas, those that are given, and return it.

    Raises:
        NotFound: no key has this id.
    """
    wanted = {"consent": consent, "requests_per_minute": requests_per_minute, "tokens_per_day": tokens_per_day}
    given: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    if skills is not None:
        given["skills"] = sorted(set(skills))
    return _change(ledger, key_id, lambda key, _: msgspec.structs.replace(key, **given))


def _change(ledger: Ledger, key_id: str, change: Callable[[ApiKey, list[ApiKey]], ApiKey]) -> ApiKey:
    """Write what ``change`` makes of a key, given all keys; tried again when somebody else wrote one meanwhile."""

    def attempt(pipe: Any) -> ApiKey:
        everyone = [decode(text, ApiKey) for text in cast(dict[str, str], pipe.hgetall(keys.API_KEYS)).values()]
        key = next((each for each in everyone if each.id == key_id), None)
        if key is None:
            raise NotFound(f"no API key has the id {key_id!r}")
        changed = change(key, everyone)
        pipe.multi()
        pipe.hset(keys.API_KEYS, changed.secret_sha256, encode(changed))
        return changed

    with ledger.reach() as client:
        return cast(ApiKey, client.transaction(attempt, keys.API_KEYS, value_from_callable=True))


def list_keys(ledger: Ledger) -> list[ApiKey]:
    """Return all keys, oldest first."""
    return sorted(ledger.hall(keys.API_KEYS, ApiKey), key=lambda key: key.id)


class Withdrawn(NamedTuple):
    """Whose consent to training is off now, whatever it was when they asked."""

    keys: frozenset[str]
    """Ids of the keys whose consent is off."""
    customers: frozenset[str]
    """Customers whose every key is off; revoked keys do not speak for anybody who has another."""

    def covers(self, customer: str, key_id: str = "") -> bool:
        """Tell whether what this customer asked under this key must not train."""
        return customer in self.customers or key_id in self.keys


def withdrawn(ledger: Ledger) -> Withdrawn:
    """Return whose consent is off now; a snapshot asks when it is built."""
    clients = [key for key in list_keys(ledger) if key.role == "client"]
    speaking = {key.owner for key in clients if key.revoked_at is None}
    heard = [key for key in clients if key.revoked_at is None or key.owner not in speaking]
    willing = {key.owner for key in heard if key.consent}
    return Withdrawn(
        frozenset(key.id for key in clients if not key.consent),
        frozenset(key.owner for key in heard) - willing,
    )


def note_used(ledger: Ledger, used: Mapping[str, int]) -> None:
    """Keep when keys were last used: key id -> Unix time, seconds."""
    if used:
        with ledger.reach() as client:
            client.hset(keys.API_KEYS_USED, mapping=dict(used))


def last_used(ledger: Ledger) -> dict[str, int]:
    """Return key id -> Unix time of its last known use, seconds; keys that were never used are not in it."""
    with ledger.reach() as client:
        return {id: int(at) for id, at in cast(dict[str, str], client.hgetall(keys.API_KEYS_USED)).items()}
