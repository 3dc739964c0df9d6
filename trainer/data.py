"""Preferences, demonstrations and prompts as token ids, read from files and checked row by row.

Knows the schema of each kind of file, chat templates and length limits; does not know models, batches or losses.
Text for the pretraining mix is in `trainer.text`, file formats in `trainer.rows`; both are re-exported here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from transformers import PreTrainedTokenizerBase

from feedback.errors import DataError, InvalidRow
from trainer.preferences import completion_of, judged_pairs, responses_of
from trainer.rows import BadRows, Row, Unusable, parse_rows, read_rows
from trainer.text import TextBlocks, read_text_blocks

__all__ = [
    "BadRows", "Demonstration", "InvalidRow", "Limits", "PreferenceGroup", "Prompt", "TextBlocks",
    "encode_completion", "held_out", "read_demonstrations", "read_preferences", "read_prompts", "read_rows",
    "read_text_blocks", "render",
]  # fmt: skip

Message = dict[str, str]
_ROLES = ("system", "user", "assistant")
_SPLITS = ("train", "valid", "test")


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
        ties: judgements that were ties, dropped.
        source: the set it came from (directory or file name).
    """

    id: str
    messages: list[Message]
    prompt_ids: list[int]
    completions: list[list[int]]
    finished: list[bool]
    pairs: list[tuple[int, int]]
    ties: int = 0
    split: str | None = None
    labeler_group: str | None = None
    customer: str | None = None
    source: str = ""

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
    bad: BadRows = field(default_factory=BadRows)

    def as_metrics(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return {
            "rows": self.rows,
            "long_prompts_dropped": self.long_prompts,
            "completions_cut": self.cut_completions,
            "empty_completions": self.empty_completions,
            "bad_rows": self.bad.count,
            "bad_row_reasons": dict(self.bad.reasons),
            "bad_row_examples": self.bad.examples,
        }


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=_Identified)


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Return the token ids of a conversation with the generation prompt, exactly as serving renders it."""
    rendered = tokenizer.apply_chat_template(
        list(messages),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
        tokenizer_kwargs={"verbose": False},
    )
    return [int(token) for token in rendered]


def encode_completion(tokenizer: PreTrainedTokenizerBase, text: str, finished: bool = True) -> list[int]:
    """Return a completion's token ids, EOS last if it finished; special tokens spelled out in it stay plain text."""
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    return [*ids, int(tokenizer.eos_token_id)] if finished else list(ids)


def held_out(messages: Sequence[Message], customer: str | None, fraction: float) -> bool:
    """Whether a row without a split is held out: by hash of its customer, or of its prompt, so nothing leaks."""
    key = customer or "\x1e".join(f"{message['role']}\x1f{message['content']}" for message in messages)
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") < fraction * 2**64


def read_preferences(
    paths: Sequence[str | Path], tokenizer: PreTrainedTokenizerBase, limits: Limits, counts: Counts | None = None
) -> list[PreferenceGroup]:
    """Return the groups of preference files, in order, those whose completions are all tied included.

    Args:
        paths: preference files.
        tokenizer: of the model that will read them.
        limits: longer prompts are dropped, longer completions cut and marked unfinished; both counted.
        counts: gets the counts; its ``bad`` says what to do with unusable rows.

    Raises:
        InvalidRow: a row is unusable and rows are not to be skipped; names file, line and reason.
        DataError: a file is missing or unreadable, or nothing usable is left.
    """
    counts = counts if counts is not None else Counts()

    def parse(row: Row) -> PreferenceGroup | None:
        responses = responses_of(row.fields)
        pairs, ties = judged_pairs(row.fields, responses)
        messages, prompt_ids = _prompt(row, tokenizer)
        completions, finished = [], []
        for number, response in enumerate(responses):
            text, ended = completion_of(response, number)
            ids, ended = _completion(tokenizer, text, ended, limits, counts)
            completions.append(ids)
            finished.append(ended)
        if _too_long(prompt_ids, limits, counts):
            return None
        return PreferenceGroup(
            id=_id(row), messages=messages, prompt_ids=prompt_ids, completions=completions, finished=finished,
            pairs=pairs, ties=ties, split=_split(row), labeler_group=_optional(row, "labeler_group"),
            customer=_optional(row, "customer"), source=_source(row.path),
        )  # fmt: skip

    return _read(paths, parse, counts, "preferences")


def read_demonstrations(
    paths: Sequence[str | Path], tokenizer: PreTrainedTokenizerBase, limits: Limits, counts: Counts | None = None
) -> list[Demonstration]:
    """Return the demonstrations of files, in order; arguments and errors as ``read_preferences``."""
    counts = counts if counts is not None else Counts()

    def parse(row: Row) -> Demonstration | None:
        messages, prompt_ids = _prompt(row, tokenizer)
        text = row.fields.get("response")
        if not isinstance(text, str) or not text.strip():
            raise Unusable("`response` must be a non-empty string")
        if _too_long(prompt_ids, limits, counts):
            return None
        ids, finished = _completion(tokenizer, text, True, limits, counts)
        return Demonstration(
            id=_id(row), messages=messages, prompt_ids=prompt_ids, completion_ids=ids, finished=finished,
            split=_split(row),
        )  # fmt: skip

    return _read(paths, parse, counts, "demonstrations")


def read_prompts(
    paths: Sequence[str | Path], tokenizer: PreTrainedTokenizerBase, limits: Limits, counts: Counts | None = None
) -> list[Prompt]:
    """Return the prompts of files, in order; arguments and errors as ``read_preferences``."""
    counts = counts if counts is not None else Counts()

    def parse(row: Row) -> Prompt | None:
        messages, prompt_ids = _prompt(row, tokenizer)
        if _too_long(prompt_ids, limits, counts):
            return None
        return Prompt(
            id=_id(row), messages=messages, prompt_ids=prompt_ids, split=_split(row),
            customer=_optional(row, "customer"), use_case=_optional(row, "use_case"),
        )  # fmt: skip

    return _read(paths, parse, counts, "prompts")


def _read(
    paths: Sequence[str | Path], parse: Callable[[Row], Item | None], counts: Counts, what: str
) -> list[Item]:
    """Parse every row of every file; refuse an id that was seen before, whichever file it was in."""
    items: list[Item] = []
    seen: set[str] = set()

    def parse_once(row: Row) -> None:
        counts.rows += 1
        identity = _id(row)
        if identity in seen:
            raise Unusable(f"duplicate id: {identity!r}")
        item = parse(row)
        seen.add(identity)
        if item is not None:
            items.append(item)

    for path in paths:
        for _ in parse_rows(Path(path), counts.bad, parse_once):
            pass
    if not items:
        names = ", ".join(str(path) for path in paths) or "no file given"
        raise DataError(f"{names}: no usable {what} among {counts.rows} rows ({counts.long_prompts} prompts too long)")
    return items


def _prompt(row: Row, tokenizer: PreTrainedTokenizerBase) -> tuple[list[Message], list[int]]:
    messages = _messages(row.fields)
    try:
        return messages, render(tokenizer, messages)
    except Exception as error:  # a chat template may raise anything, such as on roles that do not alternate
        raise Unusable(f"the chat template refuses the messages: {error}") from error


def _messages(fields: dict[str, Any]) -> list[Message]:
    if fields.get("messages") is None:
        text = fields.get("prompt", fields.get("instruction"))
        if not isinstance(text, str) or not text.strip():
            raise Unusable("no prompt: expected `messages`, or a non-empty string `prompt` or `instruction`")
        return [{"role": "user", "content": text}]
    messages = fields["messages"]
    if not isinstance(messages, list) or not messages:
        raise Unusable("`messages` must be a non-empty list")
    return [_message(message) for message in messages]


def _message(message: Any) -> Message:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise Unusable(f"a message must be an object whose `role` is one of {', '.join(_ROLES)}")
    content = message.get("content")
    if not isinstance(content, str) or not content.strip():
        raise Unusable("a message's `content` must be a non-empty string")
    return {"role": message["role"], "content": content}


def _completion(
    tokenizer: PreTrainedTokenizerBase, text: str, finished: bool, limits: Limits, counts: Counts
) -> tuple[list[int], bool]:
    """Encode a completion; one that is too long loses its end and counts as unfinished, never scored as if whole."""
    ids = encode_completion(tokenizer, text, finished)
    counts.empty_completions += not text.strip()
    if len(ids) <= limits.completion_tokens:
        return ids, finished
    counts.cut_completions += 1
    return ids[: limits.completion_tokens], False


def _too_long(prompt_ids: list[int], limits: Limits, counts: Counts) -> bool:
    counts.long_prompts += (too_long := len(prompt_ids) > limits.prompt_tokens)
    return too_long


def _id(row: Row) -> str:
    identity = row.fields.get("id")
    if identity is None:
        return f"{row.path.name}:{row.line}"
    if isinstance(identity, bool) or not isinstance(identity, str | int) or identity == "":
        raise Unusable(f"`id` must be a non-empty string: got {type(identity).__name__}")
    return str(identity)


def _split(row: Row) -> str | None:
    split = _optional(row, "split")
    if split is not None and split not in _SPLITS:
        raise Unusable(f"`split` must be one of {', '.join(_SPLITS)}: got {split!r}")
    return split


def _optional(row: Row, key: str) -> str | None:
    value = row.fields.get(key)
    if value is not None and not isinstance(value, str):
        raise Unusable(f"`{key}` must be a string: got {type(value).__name__}")
    return value


def _source(path: Path) -> str:
    stem = path.name.split(".")[0]
    return path.resolve().parent.name if stem in ("comparisons", "preferences") else stem
