"""Browser sessions: opened with a key, stored as a hash, ended by idling, by age, by sign-out or with their key.

Knows what a session's secret stands for; knows nothing of cookies. A secret is made here at each sign-in and taken from
nobody, so no visitor can be given a session that somebody else knows.
"""

import base64
import hmac
import re
import secrets
from datetime import datetime, timedelta

from feedback import access, keys
from feedback.client import Ledger, encode
from feedback.errors import InvalidKey
from feedback.records import ApiKey, Session, utc_now

PREFIX = "wss"
"""Unlike a key's, so that neither is ever taken for the other."""
SHAPE = re.compile(rf"{PREFIX}-[A-Za-z0-9_-]{{43}}")


def open_session(ledger: Ledger, key: ApiKey, *, idle_s: float, longest_s: float) -> tuple[str, Session]:
    """Open a session for a key and return (secret, record); the secret goes into the browser's cookie.

    Args:
        ledger: where the session's hash is kept.
        key: a key that was just found usable.
        idle_s: seconds without a request after which it ends.
        longest_s: seconds after which it ends in any case.
    """
    secret = f"{PREFIX}-{secrets.token_urlsafe(32)}"
    now = utc_now()
    session = Session(created_at=now, key_sha256=key.secret_sha256, ends_at=now + timedelta(seconds=longest_s))
    with ledger.reach() as client:
        client.set(_place(ledger, secret), encode(session), px=_milliseconds(session, now, idle_s))
    return secret, session


def find(ledger: Ledger, secret: str, idle_s: float) -> tuple[ApiKey, datetime]:
    """Return the key that a session stands for and when the session ends; this counts as use.

    Raises:
        InvalidKey: no such session, it ended, or its key is no longer usable.
    """
    if SHAPE.fullmatch(secret) is None:
        raise InvalidKey("no such session; sign in")
    session = ledger.get(_place(ledger, secret), Session)
    now = utc_now()
    if session is None or session.ends_at <= now:
        raise InvalidKey("the session ended; sign in again")
    key = access.by_digest(ledger, session.key_sha256)
    with ledger.reach() as client:
        client.pexpire(_place(ledger, secret), _milliseconds(session, now, idle_s))
    return key, session.ends_at


def close(ledger: Ledger, secret: str) -> None:
    """End a session for good; one that is unknown or ended already is no error."""
    with ledger.reach() as client:
        client.delete(_place(ledger, secret))


def csrf_token(secret: str) -> str:
    """Return what proves that a request was made by a page that the session's owner opened.

    Derived, not stored: whoever reads the ledger can make neither this nor the cookie.
    """
    digest = hmac.new(secret.encode(errors="replace"), b"csrf", "sha256").digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _place(ledger: Ledger, secret: str) -> str:
    return keys.session(access.hash_secret(secret, ledger.pepper))


def _milliseconds(session: Session, now: datetime, idle_s: float) -> int:
    left_s = (session.ends_at - now).total_seconds()
    return max(1, round(min(idle_s, left_s) * 1000))
