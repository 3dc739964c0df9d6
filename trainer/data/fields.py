"""The fields that rows of every kind share: id, messages, split, and optional strings.

Knows their types and the legal values; does not know tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.data.examples import Message
from trainer.data.rows import Row, Unusable

_ROLES = ("system", "user", "assistant")
_SPLITS = ("train", "valid", "test")


def id_of(row: Row) -> str:
    """Return the row's id; one made of file name and line if it has none."""
    identity = row.fields.get("id")
    if identity is None:
        return f"{row.path.name}:{row.line}"
    if isinstance(identity, bool) or not isinstance(identity, str | int) or identity == "":
        raise Unusable(f"`id` must be a non-empty string: got {type(identity).__name__}")
    return str(identity)


def split_of(row: Row) -> str | None:
    """Return train, valid, test or None."""
    split = optional_of(row, "split")
    if split is not None and split not in _SPLITS:
        raise Unusable(f"`split` must be one of {', '.join(_SPLITS)}: got {split!r}")
    return split


def optional_of(row: Row, key: str) -> str | None:
    """Return a string field, None when it is absent or empty."""
    value = row.fields.get(key)
    if value is not None and not isinstance(value, str):
        raise Unusable(f"`{key}` must be a string: got {type(value).__name__}")
    return value or None


def source_of(path: Path) -> str:
    """Return the name of the set that a file belongs to: its own, or its directory's if its own says nothing."""
    stem = path.name.split(".")[0]
    return path.resolve().parent.name if stem in ("comparisons", "preferences") else stem


def messages_of(fields: dict[str, Any]) -> list[Message]:
    """Return the conversation: ``messages``, or one user message from ``prompt`` or ``instruction``."""
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
