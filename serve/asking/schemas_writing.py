"""What the routes of guidelines, practice, writing and review take."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from feedback.guidelines import MAX_CHARS as MAX_GUIDELINE_CHARS
from feedback.records import Outcome, PromptKind, UseCase
from feedback.writing import MOST_SHOTS
from serve.asking.schemas import NO_CONTROLS, Body, Index, Reason, SubmissionId, Text

Ranking = Annotated[list[Annotated[list[Index], Meta(max_length=9)]], Meta(max_length=9)]
Comment = Annotated[str, Meta(pattern=NO_CONTROLS, max_length=2000)]
Revision = Annotated[int, Meta(ge=0, le=2**31)]


class GuidelinesIn(Body, frozen=True, kw_only=True):
    """A new version of what labelers are told."""

    text: Annotated[str, Meta(pattern=NO_CONTROLS, min_length=1, max_length=MAX_GUIDELINE_CHARS)]
    """Markdown."""
    change: Annotated[str, Meta(pattern=NO_CONTROLS, min_length=1, max_length=500)]
    """What is new, in a sentence."""
    must_acknowledge: bool = True


class PracticeIn(Body, frozen=True, kw_only=True):
    """A ranking of a practice item."""

    ranking: Ranking
    """Tie groups of completion indices, best group first."""
    outcome: Outcome = "ranked"


class ShotIn(Body, frozen=True, kw_only=True):
    """One query and its response."""

    query: Text = ""
    response: Text = ""


class WritingIn(Body, frozen=True, kw_only=True):
    """A prompt as it stands while it is written; parts may still be empty."""

    kind: PromptKind
    use_case: UseCase
    text: Text = ""
    """The prompt; for a few-shot one, the instruction."""
    shots: Annotated[list[ShotIn], Meta(max_length=MOST_SHOTS)] = []
    """Only of a few-shot prompt."""


class NewPromptIn(WritingIn, frozen=True, kw_only=True):
    """A prompt that a labeler begins to write."""

    submission_id: SubmissionId
    """Made by the client, so that a retry is recognised."""


class EditIn(WritingIn, frozen=True, kw_only=True):
    """A changed prompt, and the revision that was changed."""

    revision: Revision


class MoveIn(Body, frozen=True, kw_only=True):
    """The revision that the caller has seen."""

    revision: Revision


class VerdictIn(Body, frozen=True, kw_only=True):
    """What a reviewer says of a written prompt, of the revision that they read."""

    revision: Revision
    comment: Comment = ""


class DemonstrationVerdictIn(Body, frozen=True, kw_only=True):
    """What a reviewer says of a demonstration."""

    verdict: Literal["accepted", "returned", "rejected"]
    comment: Comment = ""


class RewriteIn(Body, frozen=True, kw_only=True):
    """A returned demonstration, written again."""

    submission_id: SubmissionId
    response: Text


class ResolveIn(Body, frozen=True, kw_only=True):
    """A reviewer's word on an item."""

    verdict: Literal["ranked", "reopened", "discarded"]
    ranking: Ranking | UnsetType = UNSET
    """Of a comparison that is ranked: every completion once, in tie groups, best group first."""
    outcome: Outcome = "ranked"
    note: Reason = ""
