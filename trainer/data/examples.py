"""What the trainer reads: prompts, demonstrations and preference groups, as token ids; and what reading left out.

Knows their fields and limits; does not know files or tokenizers (see `trainer.data.reading`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from trainer.data.rows import BadRows

Message = dict[str, str]


class Identified(Protocol):
    """Anything with an id."""

    @property
    def id(self) -> str:
        """Unique among its like."""


Item = TypeVar("Item", bound=Identified)
Known = TypeVar("Known", str, int)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Length limits, in tokens; 1k and 1k are the paper's (appendix C)."""

    prompt_tokens: int = 1024
    completion_tokens: int = 1024

    def within(self, context_tokens: int | None) -> Limits:
        """Return the limits, made smaller where a prompt and its completion would not fit the model's context."""
        if context_tokens is None or self.prompt_tokens + self.completion_tokens <= context_tokens:
            return self
        completion_tokens = min(self.completion_tokens, context_tokens // 2)
        return Limits(
            prompt_tokens=min(self.prompt_tokens, context_tokens - completion_tokens),
            completion_tokens=completion_tokens,
        )


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A conversation that waits for the assistant.

    Attributes:
        id: unique within what was read.
        messages: role and content of each turn.
        prompt_ids: the rendered conversation, generation prompt included.
        split: "train", "valid", "test" or None when the file does not say.
        customer: who asked, if known.
        use_case: kind of task, if known.
    """

    id: str
    messages: list[Message]
    prompt_ids: list[int]
    split: str | None = None
    customer: str | None = None
    use_case: str | None = None


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """A prompt and the completion that a labeler wrote.

    Attributes:
        completion_ids: tokens of the answer, EOS last unless it was cut at the limit.
        finished: whether EOS is there.
    """

    id: str
    messages: list[Message]
    prompt_ids: list[int]
    completion_ids: list[int]
    finished: bool
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class PreferenceGroup:
    """K completions of one prompt and what labelers said about them: one batch element of the reward model.

    Attributes:
        completions: token ids of each completion; EOS last where it is finished.
        finished: False where a completion was cut at a length limit, so that it has no EOS.
        pairs: (chosen, rejected) positions in ``completions``; one entry for each judgement that was no tie.
        ties: positions of two completions that a labeler found equally good; one entry for each such judgement.
        labelers: who said each of ``pairs``, an empty string where nobody is named; empty if nobody ever is.
        tie_labelers: the same of ``ties``.
        first_shown: of each of ``pairs``, 1 if the chosen completion was displayed before the rejected one, -1 if after
            it, 0 if nobody knows; empty if nobody ever does.
        features: name of a visible feature -> its value for each completion; what rows say of them.
        source: the set it came from (directory or file name).
        merged: the rows of one comparison that this group was made of, if it was made of several.
    """

    id: str
    messages: list[Message]
    prompt_ids: list[int]
    completions: list[list[int]]
    finished: list[bool]
    pairs: list[tuple[int, int]]
    ties: list[tuple[int, int]] = field(default_factory=list)
    labelers: list[str] = field(default_factory=list)
    tie_labelers: list[str] = field(default_factory=list)
    first_shown: list[int] = field(default_factory=list)
    features: dict[str, list[float]] = field(default_factory=dict)
    split: str | None = None
    labeler_group: str | None = None
    customer: str | None = None
    source: str = ""
    merged: tuple[PreferenceGroup, ...] = ()

    @property
    def K(self) -> int:
        """Number of completions."""
        return len(self.completions)

    def with_judgements_of(self, other: PreferenceGroup, merged: tuple[PreferenceGroup, ...]) -> PreferenceGroup:
        """Return the group with another's judgements of the same completions after its own, row by row ``merged``."""
        return replace(
            self,
            pairs=self.pairs + other.pairs,
            ties=self.ties + other.ties,
            labelers=_aligned(self.labelers, self.pairs, "") + _aligned(other.labelers, other.pairs, ""),
            tie_labelers=_aligned(self.tie_labelers, self.ties, "") + _aligned(other.tie_labelers, other.ties, ""),
            first_shown=_aligned(self.first_shown, self.pairs, 0) + _aligned(other.first_shown, other.pairs, 0),
            merged=merged,
        )


@dataclass
class Counts:
    """What reading left out or changed, for the stage's metrics."""

    rows: int = 0
    long_prompts: int = 0
    cut_completions: int = 0
    empty_completions: int = 0
    same_pairs: int = 0
    bad: BadRows = field(default_factory=BadRows)

    def as_metrics(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return {
            "rows": self.rows,
            "long_prompts_dropped": self.long_prompts,
            "completions_cut": self.cut_completions,
            "empty_completions": self.empty_completions,
            "pairs_of_the_same_text_dropped": self.same_pairs,
            "bad_rows": self.bad.count,
            "bad_row_reasons": dict(self.bad.reasons),
            "bad_row_examples": self.bad.examples,
        }


def _aligned(values: list[Known], judgements: Sequence[object], unknown: Known) -> list[Known]:
    """Return what is known of each judgement, where nothing is known of any of them as well."""
    return values or [unknown] * len(judgements)


def by_id(items: Iterable[Item]) -> list[Item]:
    """Return items in the order of their ids: the same rows make the same run in whatever order files have them.

    Rows without an id of their own are named by file and line: their order is still the file's.
    """
    return sorted(items, key=lambda item: item.id)
