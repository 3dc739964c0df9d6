"""What labelers send about the items that they are given, and operators about the queues."""

from typing import Annotated, Literal

from fastapi import Path
from msgspec import UNSET, Meta, UnsetType

from feedback.records import UseCase
from serve.asking.schemas import LANGUAGE, QUEUE_NAME, Body, Id, Note, Token

QueueName = Annotated[str, Meta(pattern=QUEUE_NAME)]
QueuePath = Annotated[str, Path(pattern=QUEUE_NAME.replace(r"\Z", "$"))]
SkipReason = Literal["language", "expertise", "broken", "too_long", "offensive", "other"]
ReportReason = Literal["illegal", "personal_data", "self_harm", "prompt_injection", "other"]
Percent = Annotated[int, Meta(ge=0, le=100)]
Share = Annotated[int, Meta(ge=0, le=20)]
Language = Annotated[str, Meta(pattern=LANGUAGE)]


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
    """A queue's settings; those that are absent stay as they are, or get their defaults in a new queue."""

    purpose: Literal["training", "agreement", "evaluation"] | UnsetType = UNSET
    k: Annotated[int, Meta(ge=2, le=9)] | UnsetType = UNSET
    """Completions per comparison."""
    models: Annotated[list[Id], Meta(min_length=1, max_length=9)] | UnsetType = UNSET
    """Aliases, versions or `sft`, sampled in turn."""
    overlap: Annotated[int, Meta(ge=1, le=20)] | UnsetType = UNSET
    """How many different labelers answer each item."""
    extra_overlap: Annotated[int, Meta(ge=0, le=19)] | UnsetType = UNSET
    extra_overlap_percent: Percent | UnsetType = UNSET
    random_percent: Percent | UnsetType = UNSET
    disagreement_percent: Percent | UnsetType = UNSET
    gold_percent: Share | UnsetType = UNSET
    repeat_percent: Share | UnsetType = UNSET
    languages: Annotated[list[Language], Meta(max_length=50)] | UnsetType = UNSET
    use_cases: Annotated[list[UseCase], Meta(max_length=10)] | UnsetType = UNSET
    needs: Annotated[list[Id], Meta(max_length=20)] | UnsetType = UNSET
    """Skills that a labeler's key must have."""
    daily_cap: Annotated[int, Meta(ge=0, le=100_000)] | UnsetType = UNSET
    daily_goal: Annotated[int, Meta(ge=0, le=100_000)] | UnsetType = UNSET
    ties: bool | UnsetType = UNSET
    partial_order: bool | UnsetType = UNSET
    show_answers: bool | UnsetType = UNSET
    lease_s: Annotated[int, Meta(ge=10, le=86_400)] | UnsetType = UNSET
