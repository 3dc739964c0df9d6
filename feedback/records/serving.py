"""What operators and serving replicas did."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from feedback.records.base import Count, Record


class AuditEntry(Record, frozen=True, kw_only=True):
    """Who moved what, when and why."""

    at: datetime
    actor: str
    action: str
    subject: str
    before: str = ""
    after: str = ""
    reason: str = ""


class Canary(Record, frozen=True, kw_only=True):
    """A policy that answers a share of the callers who ask for ``live``."""

    version: str
    share: Annotated[int, msgspec.Meta(ge=0, le=100)]
    """Percent of the callers; 0 keeps it loaded and routes nobody to it."""
    actor: str
    since: datetime
    """When it began, or its share was last changed."""


class SwapEvent(Record, frozen=True, kw_only=True):
    """What a serving replica did about a promotion, or about a policy that it was to keep warm.

    ``pending``: being loaded to become live; ``live``: answers; ``staged``: loaded and reachable by name; ``deferred``:
    what the slot still answered did not end in time, tried again later; ``failed``: refused, or the engine failed.
    """

    at: datetime
    replica: str
    version: str
    state: Literal["pending", "live", "staged", "deferred", "failed"]
    previous: str = ""
    load_s: float = 0.0
    in_flight: Count = 0
    """Requests that were being answered by the old version when the pointer moved."""
    error: str = ""
