"""What labelers said: labels and demonstrations. Never overwritten."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from feedback.records.base import Count, Message, Outcome, Purpose, Record, Split


class Span(Record, frozen=True, kw_only=True):
    """Some characters of one completion: ``text[start:end]``, in Unicode code points."""

    completion: Count
    start: Count
    end: Count


class Label(Record, frozen=True, kw_only=True):
    """One labeler's ranking of one comparison. Never overwritten."""

    id: str
    """Made by the client, so that a retry is recognised."""
    created_at: datetime
    comparison_id: str
    labeler: str
    labeler_group: str
    purpose: Purpose = "training"
    """The comparison's, copied."""
    outcome: Outcome = "ranked"
    """``all_bad`` and ``all_good`` are verdicts of their own, not ordinary ties."""
    ranking: list[list[int]]
    """Tie groups of completion indices, best group first; an index that is absent was not compared."""
    quality: list[Annotated[int, msgspec.Meta(ge=1, le=7)]] = []
    """1 (worst) to 7 per completion, in the order of the comparison's completions."""
    flags: dict[str, list[int]] = {}
    """Flag name -> indices of the completions that it applies to (the paper's Table 3)."""
    spans: list[Span] = []
    """Words that the labeler marked as offending."""
    note: str = ""
    active_s: float = 0.0
    """Seconds of work as the page counted them."""
    total_s: float = 0.0
    """Seconds from lease to submission as the server counted them."""
    read_s: list[Annotated[float, msgspec.Meta(ge=0)]] = []
    """Seconds that each completion was on screen, in the order of the comparison's completions."""
    input: Literal["", "keys", "mouse", "both"] = ""
    proposal: Literal["", "accepted", "changed"] = ""
    """What became of the order that the page proposed from the quality scores."""
    display_order: list[int] = []
    """Completion indices in the order in which they were shown."""
    picked: str = ""
    """Why the labeler was given this item (see `Lease.picked`)."""
    guideline_version: str = "1"
    flag_set_version: str = "1"
    revision: Count = 0
    revision_of: str = ""
    """Id of the first label that this one corrects; the highest revision counts."""


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
    comparison_id: str = ""
    """The comparison on which no completion was right, if it was written there."""
    source: Literal["request", "comparison", "few_shot"] = "request"
    based_on: Count | None = None
    """Index of the completion that the labeler began from, of those of the comparison."""
    revision: Count = 0
    revision_of: str = ""
    """Id of the first demonstration that this one corrects; the highest revision counts."""


class DemonstrationReview(Record, frozen=True, kw_only=True):
    """A reviewer's word on a demonstration; the last one counts, a rejected one never trains."""

    id: str
    created_at: datetime
    demonstration_id: str
    verdict: Literal["accepted", "returned", "rejected"]
    reviewer: str
    comment: str = ""


class Adjudication(Record, frozen=True, kw_only=True):
    """A reviewer's final ranking of a comparison on which labelers differed; their labels stay as they are."""

    id: str
    created_at: datetime
    comparison_id: str
    reviewer: str
    outcome: Outcome = "ranked"
    ranking: list[list[int]]
    note: str = ""
    labels: list[str] = []
    """Ids of the labels that the reviewer saw, without names."""


class GoldCheck(Record, frozen=True, kw_only=True):
    """A comparison with a known answer."""

    comparison_id: str
    created_at: datetime
    pairs: list[tuple[int, int]]
    """(better, worse) completion indices that a correct ranking orders strictly."""
    source: Literal["operator", "consensus", "adjudication"]
    practice: bool = False
    """Used for practice, with the explanation shown, instead of as a hidden check."""
    explanation: str = ""


class Guidelines(Record, frozen=True, kw_only=True):
    """One version of the instructions for labelers."""

    version: str
    created_at: datetime
    text: str
    """Markdown."""
    change: str = ""
    """What is new, in a sentence."""
    actor: str = ""
    must_acknowledge: bool = True
