"""What is made of labels: snapshots, reward models, policies, rounds."""

from datetime import datetime
from typing import Any, Literal

from feedback.records.base import Count, Kind, Record


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
    adjudications: list[str] = []
    """Ids of the reviewers' rankings inside; the labels that they stand for are left out as ``adjudicated``."""
    content_sha256: str = ""
    """SHA-256 over the hashes of all rows: the same content has the same one, whatever wrote the files."""
    quarantined: dict[str, dict[str, int]] = {}
    """Kind of row (``comparisons``, ``demonstrations``, ``prompts``) -> reason -> how many are not inside."""
    neutralised: dict[str, int] = {}
    """What was made harmless in texts of rows inside -> in how many rows."""
    caps: dict[str, Any] = {}
    """The caps as they were applied, see `feedback.snapshots.caps`."""
    without: list[str] = []
    """Whom this snapshot was to be built without: ``labeler:NAME``, ``customer:NAME``."""


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
    state: Literal["running", "done", "failed", "cancelled"]
    reason: str = ""
    """Why it began, in words."""
    parent: str = ""
    """The version that was live when it began; what it is compared with, whatever is promoted meanwhile."""
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


class Outlook(Record, frozen=True, kw_only=True):
    """What the trainer says of its next round."""

    at: datetime
    waits_for: list[str]
    """What is missing or holds a round up, in words, such as ``ppo: 37 of 100 new labels``; empty while one runs."""
    new_labels: int
    """Labels that no finished round used yet."""
    new_demonstrations: int
    """Demonstrations that no finished round used yet."""
