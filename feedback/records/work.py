"""What labelers are given: prompts, comparisons, queues, leases."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from feedback.records.base import Count, Message, Percent, PromptKind, Purpose, Record, Split, UseCase


class Prompt(Record, frozen=True, kw_only=True):
    """A curated prompt: consented to, deduplicated, assigned to a split by its customer."""

    id: str
    created_at: datetime
    customer: str
    messages: list[Message]
    split: Split
    interaction_id: str = ""
    key_id: str = ""
    """The key under which it was asked; its consent is looked at again when a snapshot is built."""
    source: Literal["customer", "labeler"] = "customer"
    author: str = ""
    """The labeler who wrote it; never asked about it."""
    kind: PromptKind = "plain"
    use_case: UseCase | Literal[""] = ""
    language: str = ""
    """ISO 639-1, lower case; empty if undetermined."""
    masked: dict[str, int] = {}
    """Kind of personal data -> how often it was masked."""


class Completion(Record, frozen=True, kw_only=True):
    """One sampled answer inside a comparison, stamped with where it came from."""

    text: str
    policy_version: str
    seed: int
    temperature: float
    finished: bool
    """False if the answer was cut at the length cap."""
    tokens: Count = 0
    top_p: float = 1.0
    max_tokens: Count = 0
    """Length cap that it was sampled under; 0 if unknown."""
    similar_to: int | None = None
    """Index of an earlier completion that it nearly repeats, or None."""


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
    queue: str = ""
    """Name of the queue that it goes to; empty for the one named like its purpose."""
    key_id: str = ""
    use_case: UseCase | Literal[""] = ""
    language: str = ""
    authors: list[str] = []
    """Labelers who wrote the prompt or a completion; they are never given it."""
    check_of: str = ""
    """Id of the comparison that this one repeats (purpose ``gold`` or ``repeat``)."""
    completions: list[Completion] = []


class QueueConfig(Record, frozen=True, kw_only=True):
    """One queue of comparisons: what goes in, in which order it comes out, and what is asked."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9._-]{0,63}$")]
    purpose: Literal["training", "agreement", "evaluation"] = "training"
    k: Annotated[int, msgspec.Meta(ge=2, le=9)] = 4
    """Completions per comparison."""
    models: list[str] = msgspec.field(default_factory=lambda: ["live"])
    """Aliases, versions or ``sft``, sampled in turn; one named twice gets twice as many completions."""
    overlap: Annotated[int, msgspec.Meta(ge=1, le=20)] = 1
    """How many different labelers answer each item."""
    extra_overlap: Annotated[int, msgspec.Meta(ge=0, le=19)] = 0
    """How many more answer those items that were drawn for it."""
    extra_overlap_percent: Percent = 0
    """Share of the items drawn for extra overlap."""
    random_percent: Percent = 10
    """Share of the leases that get an item drawn at random, to keep the sample honest."""
    disagreement_percent: Percent = 20
    """Share of the leases that get the item on which reward models disagree most."""
    gold_percent: Annotated[int, msgspec.Meta(ge=0, le=20)] = 0
    """Share of the leases that are checks with a known answer."""
    repeat_percent: Annotated[int, msgspec.Meta(ge=0, le=20)] = 0
    """Share of the leases that repeat an item which the labeler answered before."""
    languages: list[str] = []
    """Only prompts in these languages; empty for all."""
    use_cases: list[UseCase] = []
    """Only prompts of these use cases; empty for all."""
    needs: list[str] = []
    """Skills that a labeler's key must have."""
    daily_cap: Count = 0
    """Most items of one labeler in a UTC day; 0 for no cap."""
    daily_goal: Count = 0
    """What the page shows as the day's goal; 0 for none."""
    ties: bool = True
    """May completions be tied?"""
    partial_order: bool = True
    """May completions be left out of the order, as not compared?"""
    show_answers: bool = False
    """May a labeler see others' answers after giving their own?"""
    lease_s: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 1200
    """Seconds until an item that is not kept alive goes back."""


class Contest(Record, frozen=True, kw_only=True):
    """Two policies that labelers judge against each other, without names, on prompts of held-out customers."""

    id: str
    created_at: datetime
    a: str
    """Version."""
    b: str
    """Version."""
    prompts: list[str]
    """Ids of the prompts, in the order in which they are planned."""
    overlap: Annotated[int, msgspec.Meta(ge=1, le=20)]
    """How many different labelers judge each prompt."""
    actor: str
    reason: str = ""
    state: Literal["planned", "running", "done"] = "planned"


class Review(Record, frozen=True, kw_only=True):
    """An item taken out of the queues until a reviewer has looked at it."""

    item_id: str
    created_at: datetime
    reason: Literal["skips", "report", "disagreement"]
    details: list[str] = []
    """What labelers said, without their names."""
    state: Literal["open", "ranked", "reopened", "discarded"] = "open"
    reviewer: str = ""
    resolved_at: datetime | None = None


class Shot(Record, frozen=True, kw_only=True):
    """One query and its response, of a few-shot prompt."""

    query: str
    response: str


class WrittenPrompt(Record, frozen=True, kw_only=True):
    """A prompt that a labeler writes; each change is a new revision, and a reviewer has the last word."""

    id: str
    created_at: datetime
    labeler: str
    kind: PromptKind
    use_case: UseCase
    text: str
    """The prompt; for a few-shot one, the instruction."""
    shots: list[Shot] = []
    """Of a few-shot prompt: each gives one training item, with the others shown before it."""
    state: Literal["draft", "submitted", "returned", "accepted", "rejected"] = "draft"
    revision: Count = 0
    reviewer: str = ""
    comment: str = ""
    """What the reviewer said."""
    prompt_ids: list[str] = []
    """What it became once accepted."""


class Lease(Record, frozen=True, kw_only=True):
    """The right to answer one item until the deadline, proven by a fencing token."""

    item_id: str
    labeler: str
    token: int
    deadline_s: float
    """Unix time, seconds."""
    leased_at_s: float = 0.0
    """Unix time, seconds."""
    picked: str = ""
    """Why this item: ``priority``, ``short``, ``oldest``, ``disagreement``, ``random``, ``returned`` or ``check``."""
