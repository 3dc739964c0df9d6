"""Preferences, demonstrations and prompts as token ids, read from files and checked row by row.

Knows the schema of each kind of file, chat templates and length limits; does not know models, batches or losses.
What a row becomes is in `trainer.data.examples`, file formats in `trainer.data.rows`, text for the pretraining mix in
`trainer.data.text`; the names that stages need are re-exported here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from feedback.errors import DataError, InvalidRow
from trainer.data.examples import Counts, Demonstration, Item, Limits, Message, PreferenceGroup, Prompt, by_id
from trainer.data.fields import id_of, messages_of, optional_of, source_of, split_of
from trainer.data.preferences import completion_of, displayed_of, features_of, judged_pairs, responses_of
from trainer.data.rows import BadRows, Row, Unusable, parse_rows, read_rows
from trainer.data.text import TextBlocks, read_text_blocks

__all__ = [
    "BadRows", "Counts", "Demonstration", "InvalidRow", "Limits", "Message", "PreferenceGroup", "Prompt",
    "TextBlocks", "by_id", "encode_completion", "held_out", "read_demonstrations", "read_preferences", "read_prompts",
    "read_rows", "read_text_blocks", "render",
]  # fmt: skip


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
        said = judged_pairs(row.fields, responses)
        place = displayed_of(row.fields, len(responses))
        messages, prompt_ids = _prompt(row, tokenizer)
        completions, finished = [], []
        for number, response in enumerate(responses):
            text, ended = completion_of(response, number)
            ids, ended = _completion(tokenizer, text, ended, limits, counts)
            completions.append(ids)
            finished.append(ended)
        judged = zip(said.pairs, said.labelers, strict=True)
        different = [(pair, name) for pair, name in judged if completions[pair[0]] != completions[pair[1]]]
        counts.same_pairs += len(said.pairs) - len(different)
        if _too_long(prompt_ids, limits, counts):
            return None
        return PreferenceGroup(
            id=id_of(row), messages=messages, prompt_ids=prompt_ids, completions=completions, finished=finished,
            pairs=[pair for pair, _ in different], ties=said.ties,
            labelers=[name for _, name in different], tie_labelers=said.tie_labelers,
            first_shown=[1 if place[a] < place[b] else -1 for (a, b), _ in different] if place else [],
            split=split_of(row), labeler_group=optional_of(row, "labeler_group"), customer=optional_of(row, "customer"),
            source=source_of(row.path), features=features_of(responses),
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
            id=id_of(row), messages=messages, prompt_ids=prompt_ids, completion_ids=ids, finished=finished,
            split=split_of(row),
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
            id=id_of(row), messages=messages, prompt_ids=prompt_ids, split=split_of(row),
            customer=optional_of(row, "customer"), use_case=optional_of(row, "use_case"),
        )  # fmt: skip

    return _read(paths, parse, counts, "prompts")


def _read(paths: Sequence[str | Path], parse: Callable[[Row], Item | None], counts: Counts, what: str) -> list[Item]:
    """Parse every row of every file; refuse an id that was seen before, whichever file it was in."""
    items: list[Item] = []
    seen: set[str] = set()

    def parse_once(row: Row) -> None:
        counts.rows += 1
        identity = id_of(row)
        if identity in seen:
            raise Unusable(f"duplicate id: {identity!r}")
        item = parse(row)
        seen.add(identity)
        if item is not None:
            items.append(item)

    for path in paths:
        for _ in parse_rows(Path(path), counts.bad, parse_once):
            pass
    counts.bad.settle(what)
    if not items:
        names = ", ".join(str(path) for path in paths) or "no file given"
        raise DataError(f"{names}: no usable {what} among {counts.rows} rows ({counts.long_prompts} prompts too long)")
    return items


def _prompt(row: Row, tokenizer: PreTrainedTokenizerBase) -> tuple[list[Message], list[int]]:
    messages = messages_of(row.fields)
    try:
        return messages, render(tokenizer, messages)
    except Exception as error:  # a chat template may raise anything, such as on roles that do not alternate
        raise Unusable(f"the chat template refuses the messages: {error}") from error


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
