"""The records of the loop: frozen, checked when decoded, one noun each.

A record carries its id, ``created_at`` (UTC) and the ids of its parents. Records hold no behaviour and know no storage;
a change of state is a new write through one function that names the move.
"""

from feedback.records.answers import (
    Adjudication,
    Demonstration,
    DemonstrationReview,
    GoldCheck,
    Guidelines,
    Label,
    Span,
)
from feedback.records.base import (
    Count,
    Kind,
    Message,
    Outcome,
    Percent,
    PromptKind,
    Purpose,
    Record,
    Role,
    Split,
    UseCase,
    utc_now,
)
from feedback.records.people import ApiKey, Session
from feedback.records.serving import AuditEntry, Canary, SwapEvent
from feedback.records.traffic import Battle, Erasure, Interaction, Rating, Share
from feedback.records.training import Decision, EvaluationReport, Outlook, Policy, RewardModel, Round, Snapshot
from feedback.records.work import (
    Comparison,
    Completion,
    Contest,
    Lease,
    Prompt,
    QueueConfig,
    Review,
    Shot,
    WrittenPrompt,
)

__all__ = [
    "Adjudication",
    "ApiKey",
    "AuditEntry",
    "Battle",
    "Canary",
    "Comparison",
    "Completion",
    "Contest",
    "Count",
    "Decision",
    "Demonstration",
    "DemonstrationReview",
    "Erasure",
    "EvaluationReport",
    "GoldCheck",
    "Guidelines",
    "Interaction",
    "Kind",
    "Label",
    "Lease",
    "Message",
    "Outcome",
    "Outlook",
    "Percent",
    "Policy",
    "Prompt",
    "PromptKind",
    "Purpose",
    "QueueConfig",
    "Rating",
    "Record",
    "Review",
    "RewardModel",
    "Role",
    "Round",
    "Session",
    "Share",
    "Shot",
    "Snapshot",
    "Span",
    "Split",
    "SwapEvent",
    "UseCase",
    "WrittenPrompt",
    "utc_now",
]
