"""What a completion request may ask: an allowlist of fields, each with its bounds.

Pure functions of a body; everything that is not listed is refused by name, so that no field reaches an engine that
nobody here thought about.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from feedback.records import Message
from serve.errors import InvalidRequest

Kind = Literal["chat", "text"]
Check = Callable[[str, Any], Any]

MAX_CHOICES = 9
MAX_STOPS = 4
MAX_STOP_CHARS = 64
MAX_LOGPROBS = 20
MAX_MESSAGES = 256
MAX_DEPTH = 32
INT64 = 2**63
ROLES = ("system", "user", "assistant")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request that passed: what to forward, and what to know of it."""

    model: str
    """The name that the caller used."""
    forward: dict[str, Any]
    """The checked body without ``model`` and ``user``."""
    messages: list[Message]
    """The prompt as messages; empty for a prompt of token ids."""
    stream: bool
    sampling: dict[str, Any]
    """The sampling fields that the caller set."""


def check(body: bytes, kind: Kind, max_tokens: int) -> Asked:
    """Return the request in ``body`` if every field is known and within bounds.

    Raises:
        InvalidRequest: it is not; names the first field that is wrong.
    """
    fields = _fields(body, kind)
    checks = _checks(kind, max_tokens)
    if unknown := next((name for name in fields if name not in checks), None):
        raise _wrong(_short(unknown), "is not supported here", "unsupported_parameter")
    passed = {name: checks[name](name, value) for name, value in fields.items() if value is not None}
    for name in ("model", "messages" if kind == "chat" else "prompt"):
        if name not in passed:
            raise _wrong(name, "is required", "missing_required_parameter")
    _check_together(passed, kind, max_tokens)
    model = passed.pop("model")
    passed.pop("user", None)
    sampling = {name: value for name, value in passed.items() if name not in NOT_SAMPLING}
    return Asked(
        model=model,
        forward=passed,
        messages=_messages_of(passed),
        stream=passed.get("stream", False),
        sampling=sampling,
    )


NOT_SAMPLING = ("messages", "prompt", "stream", "stream_options", "return_token_ids", "logprobs", "top_logprobs")


def _fields(body: bytes, kind: Kind) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body is no valid JSON: {error}") from error
    except RecursionError as error:
        raise InvalidRequest("the body is nested too deeply") from error
    if not isinstance(fields, dict):
        raise InvalidRequest("the body must be a JSON object")
    return fields


def _checks(kind: Kind, max_tokens: int) -> dict[str, Check]:
    """Return field -> function that returns the checked value."""
    shared: dict[str, Check] = {
        "model": _text(1, 200),
        "max_tokens": _integer(1, max_tokens),
        "min_tokens": _integer(0, max_tokens),
        "temperature": _number(0, 2),
        "top_p": _number(0, 1, open_below=True),
        "n": _integer(1, MAX_CHOICES),
        "stop": _stop,
        "seed": _integer(-INT64, INT64 - 1),
        "stream": _boolean,
        "stream_options": _stream_options,
        "presence_penalty": _number(-2, 2),
        "frequency_penalty": _number(-2, 2),
        "user": _text(0, 256),
        "return_token_ids": _boolean,
    }
    if kind == "text":
        return {**shared, "prompt": _prompt, "logprobs": _integer(0, MAX_LOGPROBS)}
    return {
        **shared,
        "messages": _messages,
        "max_completion_tokens": _integer(1, max_tokens),
        "logprobs": _boolean,
        "top_logprobs": _integer(0, MAX_LOGPROBS),
    }


def _check_together(passed: dict[str, Any], kind: Kind, max_tokens: int) -> None:
    if "stream_options" in passed and not passed.get("stream"):
        raise _wrong("stream_options", "needs stream to be true")
    if kind == "chat" and "top_logprobs" in passed and not passed.get("logprobs"):
        raise _wrong("top_logprobs", "needs logprobs to be true")
    if passed.get("n", 1) > 1 and passed.get("temperature") == 0:
        raise _wrong("n", "must be 1 at temperature 0, where all answers are the same")
    if "max_tokens" in passed and "max_completion_tokens" in passed:
        raise _wrong("max_completion_tokens", "and max_tokens exclude each other")
    most = passed.get("max_tokens") or passed.get("max_completion_tokens") or max_tokens
    if passed.get("min_tokens", 0) > most:
        raise _wrong("min_tokens", f"must be at most {most}, the most tokens of this answer")


def _integer(low: int, high: int) -> Check:
    def checked(name: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _wrong(name, f"must be an integer from {low} to {high}")
        return value

    return checked


def _number(low: float, high: float, *, open_below: bool = False) -> Check:
    def checked(name: str, value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise _wrong(name, f"must be a number from {low} to {high}")
        number = float(value)
        if not math.isfinite(number) or (open_below and number <= low):
            raise _wrong(name, f"must be a number above {low}, at most {high}")
        return number

    return checked


def _text(shortest: int, longest: int) -> Check:
    def checked(name: str, value: Any) -> str:
        if not isinstance(value, str) or not shortest <= len(value) <= longest:
            raise _wrong(name, f"must be a text of {shortest} to {longest} characters")
        return value

    return checked


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "must be true or false")
    return value


def _stop(name: str, value: Any) -> list[str]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not 1 <= len(stops) <= MAX_STOPS:
        raise _wrong(name, f"must be a text or a list of 1 to {MAX_STOPS} texts")
    return [_text(1, MAX_STOP_CHARS)(name, stop) for stop in stops]


def _stream_options(name: str, value: Any) -> dict[str, bool]:
    if not isinstance(value, dict) or set(value) - {"include_usage"}:
        raise _wrong(name, "must be an object with include_usage only")
    return {key: _boolean(f"{name}.{key}", each) for key, each in value.items()}


def _prompt(name: str, value: Any) -> str | list[int]:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(type(id) is int and 0 <= id < 2**31 for id in value):
        return value
    raise _wrong(name, "must be a text or a list of token ids, not empty; one prompt a request")


def _messages(name: str, value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MESSAGES:
        raise _wrong(name, f"must be a list of 1 to {MAX_MESSAGES} messages")
    return [_message(f"{name}[{place}]", each) for place, each in enumerate(value)]


def _message(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _wrong(name, "must be an object with role and content")
    if unknown := next((key for key in value if key not in ("role", "content")), None):
        raise _wrong(f"{name}.{_short(unknown)}", "is not supported here", "unsupported_parameter")
    if value.get("role") not in ROLES:
        raise _wrong(f"{name}.role", f"must be one of {', '.join(ROLES)}")
    return {"role": value["role"], "content": _content(f"{name}.content", value.get("content"))}


def _content(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise _wrong(name, "must be a text or a list of text parts")
    for place, part in enumerate(value):
        if not isinstance(part, dict) or set(part) != {"type", "text"} or part["type"] != "text":
            raise _wrong(f"{name}[{place}]", 'must be {"type": "text", "text": ...}; only text is supported')
        if not isinstance(part["text"], str):
            raise _wrong(f"{name}[{place}].text", "must be a text")
    return "\n".join(part["text"] for part in value)


def _messages_of(passed: dict[str, Any]) -> list[Message]:
    if "messages" in passed:
        return [Message(**each) for each in passed["messages"]]
    prompt = passed["prompt"]
    return [Message(role="user", content=prompt)] if isinstance(prompt, str) else []


def _short(name: str) -> str:
    return name if len(name) <= 64 else f"{name[:61]}..."


def _wrong(name: str, what: str, code: str = "invalid_value") -> InvalidRequest:
    return InvalidRequest(f"{name} {what}", param=name, code=code)
