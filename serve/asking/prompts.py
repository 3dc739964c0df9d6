"""What a request says to the model: chat messages, texts or token ids, each checked and brought into one form.

Pure; knows the shapes that OpenAI's clients send, tools' calls and results where they are switched on. A message's
``name`` is checked and then dropped (no chat template of ours shows it), ``developer`` means ``system``, and fields of
an answer that a client sends back empty count as absent.
"""

from typing import Any

import msgspec

from feedback.records import Message
from serve.asking import structured
from serve.asking.bounds import Check, short, text, unsupported, wrong

MAX_PROMPTS = 16
MAX_MESSAGES = 256
MAX_TOKEN_ID = 2**31 - 1
"""Ids are also held against the policy's vocabulary, by the engine."""
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
EMPTY_FIELDS = ("refusal", "annotations", "audio", "function_call", "tool_calls", "reasoning", "reasoning_content")
"""Fields of an answer of ours that a client may send back, as long as they hold nothing."""
BYTES_PER_ID = 4


def messages(*, tools: bool) -> Check:
    """Return a check that brings a chat's messages to role, content and, with tools, calls."""

    def checked(name: str, value: Any) -> list[dict[str, Any]]:
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_MESSAGES:
            raise wrong(name, f"must be a list of 1 to {MAX_MESSAGES} messages")
        return [_message(f"{name}[{place}]", each, tools=tools) for place, each in enumerate(value)]

    return checked


def _message(name: str, value: Any, *, tools: bool) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong(name, "must be an object with role and content")
    roles = {**ROLES, "tool": "tool"} if tools else ROLES
    role = value.get("role")
    if not isinstance(role, str) or role not in roles:
        raise wrong(f"{name}.role", f"must be one of {', '.join(roles)}")
    found: dict[str, Any] = {"role": roles[role]}
    for key, field in value.items():
        if key in ("role", "content") or (key in EMPTY_FIELDS and field in (None, [])):
            continue
        if key == "name":
            text(1, 64)(f"{name}.name", field)
        elif key == "tool_calls" and tools and role == "assistant":
            found[key] = structured.calls(f"{name}.{key}", field)
        elif key == "tool_call_id" and role == "tool":
            found[key] = text(1, 64)(f"{name}.{key}", field)
        else:
            raise unsupported(f"{name}.{short(key)}")
    if role == "tool" and "tool_call_id" not in found:
        raise wrong(f"{name}.tool_call_id", "is required", "missing_required_parameter")
    silent = "tool_calls" in found and value.get("content") is None
    return {**found, "content": "" if silent else _content(f"{name}.content", value.get("content"))}


def _content(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise wrong(name, "must be a text or a list of text parts")
    for place, part in enumerate(value):
        if not isinstance(part, dict) or set(part) != {"type", "text"} or part["type"] != "text":
            raise wrong(f"{name}[{place}]", 'must be {"type": "text", "text": ...}; only text is supported')
        if not isinstance(part["text"], str):
            raise wrong(f"{name}[{place}].text", "must be a text")
    return "\n".join(part["text"] for part in value)


def prompt(name: str, value: Any) -> list[str] | list[list[int]]:
    """Return the prompts of a text completion: up to `MAX_PROMPTS` texts, or as many lists of token ids."""
    if isinstance(value, str) or (isinstance(value, list) and value and type(value[0]) is int):
        value = [value]
    if not isinstance(value, list) or not value:
        raise wrong(name, "must be a text, a list of token ids, or a list of such prompts; not empty")
    if len(value) > MAX_PROMPTS:
        raise wrong(name, f"must hold at most {MAX_PROMPTS} prompts; it holds {len(value)}")
    kind = str if isinstance(value[0], str) else list
    for each in value:
        if not isinstance(each, kind) or not each:
            raise wrong(name, "must hold texts only or lists of token ids only, none of them empty")
        if kind is list and not all(type(id) is int and 0 <= id <= MAX_TOKEN_ID for id in each):
            raise wrong(name, f"must hold integers from 0 to {MAX_TOKEN_ID} as token ids")
    return value


def conversations(fields: dict[str, Any]) -> list[list[Message]]:
    """Return each prompt of a checked body as messages; empty for what nobody could label: token ids, tools."""
    if "tools" in fields or any(each.keys() - {"role", "content"} for each in fields.get("messages", ())):
        return [[]]
    if "messages" in fields:
        return [[Message(role=each["role"], content=each["content"]) for each in fields["messages"]]]
    return [[Message(role="user", content=each)] if isinstance(each, str) else [] for each in fields["prompt"]]


def size(fields: dict[str, Any]) -> int:
    """Return the bytes of UTF-8 of a checked body's prompts; a token id counts as four, tools and calls as JSON."""
    if "messages" in fields:
        shown = [fields["tools"]] if "tools" in fields else []
        shown += [each["tool_calls"] for each in fields["messages"] if "tool_calls" in each]
        return sum(len(each["content"].encode()) for each in fields["messages"]) + sum(
            len(msgspec.json.encode(each)) for each in shown
        )
    return sum(len(each.encode()) if isinstance(each, str) else len(each) * BYTES_PER_ID for each in fields["prompt"])
