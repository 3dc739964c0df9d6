"""The records of the loop: frozen, checked when decoded, one noun each.

A record carries its id, ``created_at`` (UTC) and the ids of its parents. Records hold no behaviour and know no storage;
a change of state is a new write through one function that names the move.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

Split = Literal["train", "valid", "test"]
Role = Literal["client", "labeler", "operator", "metrics"]
Purpose = Literal["training", "agreement", "evaluation"]
Kind = Literal["base", "sft", "ppo"]
Count = Annotated[int, msgspec.Meta(ge=0)]


def utc_now() -> datetime:
    """Return the present moment, aware and in UTC."""
    return datetime.now(UTC)


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all records: immutable, keyword-only, unknown fields refused."""


class Message(Record, frozen=True, kw_only=True):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class ApiKey(Record, frozen=True, kw_only=True):
    """Who may call, as what. The secret itself is never stored, only its SHA-256."""

    id: str
    role: Role
    owner: str
    """The customer or labeler that the key stands for."""
    secret_sha256: str
    group: str = ""
    """Labeler group (``training`` or ``held-out``); empty for others."""
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


class Prompt(Record, frozen=True, kw_only=True):
    """A curated prompt: consented to, deduplicated, assigned to a split by its customer."""

    id: str
    created_at: datetime
    customer: str
    messages: list[Message]
    split: Split
    interaction_id: str = ""
    source: Literal["customer", "labeler"] = "customer"


class Completion(Record, frozen=True, kw_only=True):
    """One sampled answer inside a comparison, stamped with where it came from."""

    text: str
    policy_version: str
    seed: int
    temperature: float
    finished: bool
    """False if the answer was cut at the length cap."""
    tokens: Count = 0


class Comparison(Record, frozen=True, kw_only=True):
    """K completions of one prompt, waiting for a ranking."""

    id: str
    created_at: datetime
    prompt_id: str
    customer: str
    messages: list[Message]
    split: Split
    k: Annotated[int, msgspec.Meta(ge=2, le=9)]
    purpose: Purpose = "training"
    overlap: Annotated[int, msgspec.Meta(ge=1, le=20)] = 1
    """How many different labelers rank it."""
    models: list[str] = msgspec.field(default_factory=lambda: ["live"])
    """Aliases or versions to sample from, in turn."""
    priority: bool = False
    """Served to labelers before all that have none."""
    completions: list[Completion] = []


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


class Lease(Record, frozen=True, kw_only=True):
    """The right to answer one item until the deadline, proven by a fencing token."""

    item_id: str
    labeler: str
    token: int
    deadline_s: float
    """Unix time, seconds."""


class Label(Record, frozen=True, kw_only=True):
    """One labeler's ranking of one comparison. Never overwritten."""

    id: str
    """Made by the client, so that a retry is recognised."""
    created_at: datetime
    comparison_id: str
    labeler: str
    labeler_group: str
    ranking: list[list[int]]
    """Tie groups of completion indices, best group first."""
    quality: list[Annotated[int, msgspec.Meta(ge=1, le=7)]] = []
    """1 (worst) to 7 per completion, in the order of the comparison's completions."""
    flags: dict[str, list[int]] = {}
    """Flag name -> indices of the completions that it applies to (the paper's Table 3)."""
    note: str = ""
    active_s: float = 0.0
    guideline_version: str = "1"


class Demonstration(Record, frozen=True, kw_only=True):
    """A labeler's own answer to a prompt."""

    id: str
    created_at: datetime
    prompt_id: str
    customer: str
    messages: list[Message]
    response: str
    labeler: str
    split: Split


class Snapshot(Record, frozen=True, kw_only=True):
    """An immutable, hashed copy of the labels on which one round trains."""

    id: str
    created_at: datetime
    path: str
    sha256: str
    comparisons: Count
    demonstrations: Count
    prompts: Count
    labels: list[str] = []
    """Ids of all labels inside."""
    left_out: dict[str, str] = {}
    """Label id -> why it is not inside."""


class RewardModel(Record, frozen=True, kw_only=True):
    """A trained reward model and how it did on held-out labels."""

    id: str
    created_at: datetime
    snapshot_id: str
    path: str
    sha256: str
    metrics: dict[str, Any] = {}


class Policy(Record, frozen=True, kw_only=True):
    """A policy version and everything that made it."""

    version: str
    created_at: datetime
    kind: Kind
    path: str
    sha256: str
    """SHA-256 of the directory's manifest."""
    parent: str = ""
    reference: str = ""
    reward_model_id: str = ""
    snapshot_id: str = ""
    round_id: str = ""
    config_sha256: str = ""
    metrics: dict[str, Any] = {}


class EvaluationReport(Record, frozen=True, kw_only=True):
    """How a candidate did before anybody saw it."""

    id: str
    created_at: datetime
    version: str
    figures: dict[str, Any]


class Decision(Record, frozen=True, kw_only=True):
    """The gate's word on a candidate, with a reason per check, passed or not."""

    promote: bool
    reasons: list[str]


class Round(Record, frozen=True, kw_only=True):
    """One walk of the trainer: snapshot, sft, reward, ppo, evaluate, register."""

    id: str
    created_at: datetime
    state: Literal["running", "done", "failed"]
    stage: str = ""
    kind: Literal["sft", "ppo"] = "ppo"
    snapshot_id: str = ""
    reward_model_id: str = ""
    version: str = ""
    error: str = ""
    finished_at: datetime | None = None
    progress: dict[str, float] = {}
    """Of the running stage: ``step``, ``steps``, ``eta_s``."""
    seconds: dict[str, float] = {}
    """Stage -> seconds it took."""


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
