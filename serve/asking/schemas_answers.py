"""What labelers send as answers: rankings, demonstrations, corrections and drafts."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from feedback.records import Outcome
from serve.asking.schemas import NO_CONTROLS, Body, FlagName, Index, Note, SubmissionId, Text, Token

DAY_S = 86_400
Version = Annotated[str, Meta(pattern=NO_CONTROLS, max_length=64)]
Ranking = Annotated[list[Annotated[list[Index], Meta(max_length=9)]], Meta(max_length=9)]
Seconds = Annotated[float, Meta(ge=0, le=DAY_S)]


class SpanIn(Body, frozen=True, kw_only=True):
    """Some characters of one completion: from `start` to before `end`, in Unicode code points."""

    completion: Index
    start: Annotated[int, Meta(ge=0, le=1_000_000)]
    end: Annotated[int, Meta(ge=1, le=1_000_000)]


class AnswerIn(Body, frozen=True, kw_only=True):
    """A ranking of a comparison, or a response; exactly one of the two, unless the outcome says it all."""

    submission_id: SubmissionId
    """Made by the client, so that a retry is recognised."""
    ranking: Ranking | None = None
    """Tie groups of completion indices, best group first; one that is absent was not compared."""
    response: Text | None = None
    """A demonstration."""
    outcome: Outcome = "ranked"
    """`all_bad` and `all_good` need no ranking."""
    quality: Annotated[list[Annotated[int, Meta(ge=1, le=7)]], Meta(max_length=9)] = []
    flags: Annotated[dict[FlagName, Annotated[list[Index], Meta(max_length=9)]], Meta(max_length=20)] = {}
    spans: Annotated[list[SpanIn], Meta(max_length=100)] = []
    note: Note = ""
    active_s: Seconds = 0.0
    """Seconds of work as the page counted them; no more than the server counted are believed."""
    read_s: Annotated[list[Seconds], Meta(max_length=9)] = []
    input: Literal["", "keys", "mouse", "both"] = ""
    proposal: Literal["", "accepted", "changed"] = ""
    guideline_version: Version = ""
    """The version that the labeler had before them; empty for the one in force."""
    flag_set_version: Version = ""


class SubmitIn(AnswerIn, frozen=True, kw_only=True):
    """A ranking of a comparison, or a response to a request for a demonstration; exactly one of the two."""

    token: Token


class ReviseIn(AnswerIn, frozen=True, kw_only=True):
    """What an earlier answer should have been, whole."""


class WriteIn(Body, frozen=True, kw_only=True):
    """The answer that none of a comparison's completions is."""

    token: Token
    submission_id: SubmissionId
    response: Text
    based_on: Index | None = None
    """Index of the completion that it was begun from."""


class DraftIn(Body, frozen=True, kw_only=True):
    """What a labeler has so far; an object of the page's own making."""

    token: Token
    draft: dict[str, Any]
