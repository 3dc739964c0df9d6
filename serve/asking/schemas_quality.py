"""What the routes on the quality of labels take."""

from typing import Annotated

from msgspec import Meta

from serve.asking.schemas import NO_CONTROLS, Body, Id, Index, Reason

Name = Annotated[str, Meta(pattern=NO_CONTROLS, min_length=1, max_length=200)]


class GoldIn(Body, frozen=True, kw_only=True):
    """A comparison with a known answer."""

    comparison_id: Id
    pairs: Annotated[list[tuple[Index, Index]], Meta(min_length=1, max_length=36)]
    """(better, worse) completion indices that a correct ranking orders strictly."""
    practice: bool = False
    """Use it for practice, with the explanation, instead of as a hidden check."""
    explanation: Annotated[str, Meta(pattern=NO_CONTROLS, max_length=4000)] = ""


class PauseIn(Body, frozen=True, kw_only=True):
    """A labeler who is to be given nothing for now."""

    labeler: Name
    reason: Annotated[str, Meta(pattern=NO_CONTROLS, min_length=1, max_length=500)]
    """The labeler reads it."""
    quarantine_hours: Annotated[float, Meta(ge=0, le=24 * 365)] | None = None
    """Keep their labels of so many hours back, and of the pause, out of snapshots; none if not given."""


class ResumeIn(Body, frozen=True, kw_only=True):
    """A labeler who may go on."""

    labeler: Name
    reason: Reason = ""
    lift: bool
    """Let the quarantined labels count again; otherwise they stay out for good."""


class LiftIn(Body, frozen=True, kw_only=True):
    """A labeler whose earlier quarantines are to be lifted."""

    labeler: Name
    reason: Reason = ""
