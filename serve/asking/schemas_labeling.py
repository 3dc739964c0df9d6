"""What labelers send about the items that they are given, and operators about the queues."""

from typing import Annotated, Literal

import msgspec
from fastapi import Path
from msgspec import Meta

from feedback.records import UseCase
from serve.asking.schemas import Body, Id, Note, Token

QUEUE = r"^[a-z0-9][a-z0-9._-]{0,63}$"
QueueName = Annotated[str, Meta(pattern=QUEUE.replace("$", r"\Z"))]
QueuePath = Annotated[str, Path(pattern=QUEUE)]
SkipReason = Literal["language", "expertise", "broken", "too_long", "offensive", "other"]
ReportReason = Literal["illegal", "personal_data", "self_harm", "prompt_injection", "other"]
Percent = Annotated[int, Meta(ge=0, le=100)]
Share = Annotated[int, Meta(ge=0, le=20)]
Language = Annotated[str, Meta(pattern=r"^[a-z]{2,3}\Z")]


class NextIn(Body, frozen=True, kw_only=True):
    """Which queue a labeler wants to work on."""

    queue: QueueName = "training"


class HeartbeatIn(Body, frozen=True, kw_only=True):
    """Proof of a lease."""

    token: Token


class SkipIn(Body, frozen=True, kw_only=True):
    """Why a labeler passes an item on."""

    token: Token
    reason: SkipReason
    note: Note = ""


class ReportIn(Body, frozen=True, kw_only=True):
    """What is wrong with an item, so that nobody should be given it."""

    token: Token
    reason: ReportReason
    note: Note = ""


class QueueConfigIn(Body, frozen=True, kw_only=True):
    """All of a queue's settings; those that are absent get their defaults."""

    purpose: Literal["training", "agreement", "evaluation"] = "training"
    k: Annotated[int, Meta(ge=2, le=9)] = 4
    models: Annotated[list[Id], Meta(min_length=1, max_length=9)] = msgspec.field(
        default_factory=lambda: ["live"]
    )
    overlap: Annotated[int, Meta(ge=1, le=20)] = 1
    extra_overlap: Annotated[int, Meta(ge=0, le=19)] = 0
    extra_overlap_percent: Percent = 0
    random_percent: Percent = 10
    disagreement_percent: Percent = 20
    gold_percent: Share = 0
    repeat_percent: Share = 0
    languages: Annotated[list[Language], Meta(max_length=50)] = []
    use_cases: Annotated[list[UseCase], Meta(max_length=10)] = []
    needs: Annotated[list[Id], Meta(max_length=20)] = []
    daily_cap: Annotated[int, Meta(ge=0, le=100_000)] = 0
    daily_goal: Annotated[int, Meta(ge=0, le=100_000)] = 0
    ties: bool = True
    partial_order: bool = True
    show_answers: bool = False
    lease_s: Annotated[int, Meta(ge=10, le=86_400)] = 1200
