"""What customers asked and were answered, what they said of it, and how it is forgotten."""

from datetime import datetime
from typing import Any, Literal

from feedback.records.base import Count, Message, Record


class Interaction(Record, frozen=True, kw_only=True):
    """One prompt and the answer that a customer got for it."""

    id: str
    created_at: datetime
    customer: str
    key_id: str
    messages: list[Message]
    completion: str
    finish_reason: str
    policy_version: str
    sampling: dict[str, Any] = {}
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    latency_s: float = 0.0
    consent: bool = True


class Rating(Record, frozen=True, kw_only=True):
    """What a customer said of one served answer."""

    id: str
    created_at: datetime
    interaction_id: str
    customer: str
    rating: Literal[-1, 0, 1]
    """Good 1, bad -1; 0 takes an earlier rating back or comes with words only."""
    reasons: list[str] = []
    """Why, in the words of a fixed list."""
    comment: str = ""
    edit: str = ""
    """What the answer should have said; empty if not given."""


class Battle(Record, frozen=True, kw_only=True):
    """Two policies that answer one customer's prompt under hidden names, until the customer has voted."""

    id: str
    created_at: datetime
    customer: str
    versions: list[str]
    """Side a, side b."""


class Share(Record, frozen=True, kw_only=True):
    """A copy of one logged conversation that anybody who knows its id may read until it expires."""

    id: str
    created_at: datetime
    expires_at: datetime
    customer: str
    interaction_id: str
    messages: list[Message]
    completion: str


class Erasure(Record, frozen=True, kw_only=True):
    """A customer's words on their way out, and the receipt for it."""

    id: str
    created_at: datetime
    """What the customer sent until then is erased."""
    customer: str
    actor: str
    state: Literal["running", "done"] = "running"
    """Done once a pass over all places found nothing, after everything that was under way at the first had ended."""
    passes: Count = 0
    counts: dict[str, int] = {}
    """Kind -> how many were removed."""
    snapshots: list[str] = []
    """Snapshots with rows of the customer; they are immutable."""
    policies: list[str] = []
    """Policies that these snapshots, or policies trained on them, went into."""
    finished_at: datetime | None = None
