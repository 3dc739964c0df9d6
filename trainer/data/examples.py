"""What the trainer reads: prompts, demonstrations and preference groups, as token ids; and what reading left out.

Knows their fields and limits; does not know files or tokenizers (see `trainer.data.reading`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from trainer.data.rows import BadRows

Message = dict[str, str]


class Identified(Protocol):
    """Anything with an id."""

    @property
    def id(self) -> str:
        """Unique among its like."""


Item = TypeVar("Item", bound=Identified)


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
    split: str | None = None
    labeler_group: str | None = None
    customer: str | None = None
    source: str = ""
    merged: tuple[PreferenceGroup, ...] = ()

    @property
    def K(self) -> int:
        """Number of completions."""
        return len(self.completions)


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


def by_id(items: Iterable[Item]) -> list[Item]:
    """Return items in the order of their ids: the same rows make the same run in whatever order files have them.

    Rows without an id of their own are named by file and line: their order is still the file's.
    """
    return sorted(items, key=lambda item: item.id)
