"""Who may call, and the browsers in which they signed in."""

from datetime import datetime

from feedback.records.base import Count, Record, Role


class ApiKey(Record, frozen=True, kw_only=True):
    """Who may call, as what. The secret itself is never stored, only its SHA-256."""

    id: str
    role: Role
    owner: str
    """The customer or labeler that the key stands for."""
    secret_sha256: str
    group: str = ""
    """Labeler group (``training`` or ``held-out``); empty for others."""
    skills: list[str] = []
    """What a labeler may be given beyond the ordinary, such as ``lang:de`` (see `QueueConfig.needs`)."""
    consent: bool = True
    """May this customer's prompts be used for training? A request can only narrow it."""
    created_at: datetime
    not_before: datetime | None = None
    """The key opens nothing before this moment."""
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    requests_per_minute: Count = 0
    """Most requests of this key in a minute; 0 for the serving process's default."""
    tokens_per_day: Count = 0
    """Most tokens, prompts and answers together, of this key in a UTC day; 0 for the default."""


class Session(Record, frozen=True, kw_only=True):
    """A browser that signed in with a key. The session's secret is never stored, only its SHA-256."""

    created_at: datetime
    key_sha256: str
    """Hash of the key that opened it; the session is worth what that key is worth, no more."""
    ends_at: datetime
    """When it ends, however busy it is."""
