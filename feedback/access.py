"""API keys: made once, shown once, stored as a hash.

Knows who a secret stands for; does not know what a role may do (the routes say that) and keeps no cache.
"""

import hashlib
import secrets
from datetime import datetime

import msgspec

from feedback import keys
from feedback.client import Ledger, encode
from feedback.errors import ConfigError, InvalidKey
from feedback.ids import new_id
from feedback.records import ApiKey, Role, utc_now

ROLES: tuple[Role, ...] = ("client", "labeler", "operator", "metrics")
PREFIX = "ws"


def hash_secret(secret: str) -> str:
    """Return the SHA-256 under which a secret is stored; secrets have 256 random bits, so no salt is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create(
    ledger: Ledger,
    role: str,
    owner: str,
    *,
    group: str = "",
    consent: bool = True,
    expires_at: datetime | None = None,
) -> tuple[str, ApiKey]:
    """Make a key and return (secret, record); the secret cannot be shown again.

    Raises:
        ConfigError: unknown role or empty owner.
    """
    if role not in ROLES:
        raise ConfigError(f"role {role!r} is unknown; choose one of {', '.join(ROLES)}")
    if not owner.strip():
        raise ConfigError("owner is empty; name the customer, labeler or operator that the key stands for")
    secret = f"{PREFIX}-{role}-{secrets.token_urlsafe(32)}"
    key = ApiKey(
        id=new_id("key"),
        role=role,
        owner=owner,
        secret_sha256=hash_secret(secret),
        group=group,
        consent=consent,
        created_at=utc_now(),
        expires_at=expires_at,
    )
    with ledger.reach() as client:
        client.hset(keys.API_KEYS, key.secret_sha256, encode(key))
    return secret, key


def find(ledger: Ledger, secret: str) -> ApiKey:
    """Return the key that ``secret`` opens.

    Raises:
        InvalidKey: no such key, or it is revoked or expired.
    """
    key = ledger.hget(keys.API_KEYS, hash_secret(secret), ApiKey)
    if key is None:
        raise InvalidKey("no such API key; make one with `whetstone keys create`")
    check_usable(key, utc_now())
    return key


def check_usable(key: ApiKey, now: datetime) -> None:
    """Raise `InvalidKey` if the key is revoked or expired at ``now``."""
    if key.revoked_at is not None:
        raise InvalidKey(f"API key {key.id} was revoked")
    if key.expires_at is not None and key.expires_at <= now:
        raise InvalidKey(f"API key {key.id} expired")


def revoke(ledger: Ledger, key_id: str) -> ApiKey:
    """Revoke the key with this id and return it.

    Raises:
        InvalidKey: no key has this id.
    """
    for key in list_keys(ledger):
        if key.id == key_id:
            revoked = msgspec.structs.replace(key, revoked_at=key.revoked_at or utc_now())
            with ledger.reach() as client:
                client.hset(keys.API_KEYS, key.secret_sha256, encode(revoked))
            return revoked
    raise InvalidKey(f"no API key has the id {key_id!r}")


def list_keys(ledger: Ledger) -> list[ApiKey]:
    """Return all keys, oldest first."""
    return sorted(ledger.hall(keys.API_KEYS, ApiKey), key=lambda key: key.id)
