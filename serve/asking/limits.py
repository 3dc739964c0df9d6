"""What a completion request may ask: an allowlist of fields, each with its bounds.

Pure functions of a body; everything that is not listed is refused by name, so that no field reaches an engine that
nobody here thought about. Null counts as absent for a field that is listed.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import msgspec

from feedback.records import Message
from serve.asking import prompts, structured
from serve.asking.bounds import Check, boolean, integer, mapping, number, short, text, unsupported, wrong
from serve.asking.jsonbody import INT64, parse
from serve.errors import InvalidRequest
from serve.settings import ServeSettings

Kind = Literal["chat", "text"]

MAX_CHOICES = 9
"""Most answers to one prompt: as many as a comparison may rank."""
MAX_ANSWERS = 16
"""Most answers of one request, over all its prompts."""
MAX_STOPS = 4
MAX_STOP_CHARS = 64
MAX_LOGPROBS = 20
MAX_TOP_K = 1_000_000
MAX_BIASES = 300
MAX_BIAS = 100.0
MAX_METADATA = 16
GREEDY_BELOW = 1e-5
"""Temperatures below are 0: dividing by them would overflow."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request that passed: what to forward, and what to know of it."""

    model: str
    """The name that the caller used."""
    forward: dict[str, Any]
    """The checked body without ``model`` and what is not for an engine."""
    prompts: list[list[Message]]
    """Each prompt as messages; a chat has one. Empty for what nobody could label: token ids, chats with tools."""
    schemas: list[bytes]
    """JSON schemas that the answer is held to, to be tried out before an engine sees them."""
    stream: bool
    sampling: dict[str, Any]
    """The sampling fields that the caller set."""
    n: int
    """Answers wanted to each prompt."""
    max_tokens: int
    """Most tokens of one answer."""
    prompt_bytes: int
    """Bytes of UTF-8 of all prompts; a token id counts as four."""

    @property
    def held_by(self) -> str:
        """The field that brought the schemas."""
        return "tools" if "tools" in self.forward else "response_format"

    @property
    def messages(self) -> list[Message]:
        """The first prompt."""
        return self.prompts[0]


def check(body: bytes, kind: Kind, settings: ServeSettings) -> Asked:
    """Return the request in ``body`` if every field is known and within bounds.

    Raises:
        InvalidRequest: it is not; names the first field that is wrong.
    """
    fields = parse(body)
    if not isinstance(fields, dict):
        raise InvalidRequest("the body must be a JSON object")
    checks = _checks(kind, settings)
    if (unknown := next((name for name in fields if name not in checks), None)) is not None:
        raise unsupported(short(unknown))
    passed = {name: checks[name](name, value) for name, value in fields.items() if value is not None}
    for name in ("model", "messages" if kind == "chat" else "prompt"):
        if name not in passed:
            raise wrong(name, "is required", "missing_required_parameter")
    most = passed.get("max_tokens") or passed.get("max_completion_tokens") or settings.max_tokens
    _check_together(passed, most)
    structured.check_together(passed)
    schemas = structured.schemas(passed)
    model = passed.pop("model")
    for name in NOT_FOR_ENGINES:
        passed.pop(name, None)
    if passed.get("response_format") == {"type": "text"}:
        del passed["response_format"]
    if "tools" not in passed:
        for name in WITHOUT_MEANING_ALONE:
            passed.pop(name, None)
    return Asked(
        model=model,
        forward=passed,
        prompts=prompts.conversations(passed),
        schemas=schemas,
        stream=passed.get("stream", False),
        sampling={name: value for name, value in passed.items() if name not in NOT_SAMPLING},
        n=passed.get("n", 1),
        max_tokens=most,
        prompt_bytes=_bounded_size(passed, settings.max_prompt_bytes),
    )


NOT_FOR_ENGINES = ("user", "metadata", "store")
"""Checked, because clients send them, and then dropped: what is not kept cannot do harm later."""
WITHOUT_MEANING_ALONE = ("tool_choice", "parallel_tool_calls")
"""Dropped where no tools are offered."""
NOT_SAMPLING = (
    *("messages", "prompt", "stream", "stream_options", "return_token_ids", "logprobs", "top_logprobs"),
    *("tools", "tool_choice", "parallel_tool_calls", "response_format"),
)


def _checks(kind: Kind, settings: ServeSettings) -> Mapping[str, Check]:
    """Return field -> function that returns the checked value."""
    return _table(kind, settings.max_tokens, settings.tools, settings.structured_output)


@cache
def _table(kind: Kind, max_tokens: int, tools: bool, structured_output: bool) -> Mapping[str, Check]:
    tokens = integer(1, max_tokens)
    shared: dict[str, Check] = {
        "model": text(1, 200),
        "max_tokens": tokens,
        "min_tokens": integer(0, max_tokens),
        "temperature": _temperature,
        "top_p": number(0, 1, open_below=True),
        "top_k": integer(-1, MAX_TOP_K),
        "min_p": number(0, 1),
        "n": integer(1, MAX_CHOICES),
        "stop": _stop,
        "seed": integer(0, INT64 - 1),
        "stream": boolean,
        "stream_options": _stream_options,
        "presence_penalty": number(-2, 2),
        "frequency_penalty": number(-2, 2),
        "repetition_penalty": number(0, 2, open_below=True),
        "logit_bias": _logit_bias,
        "user": text(0, 256),
        "return_token_ids": boolean,
    }
    if kind == "text":
        return {**shared, "prompt": prompts.prompt, "logprobs": integer(0, MAX_LOGPROBS)}
    return {
        **shared,
        "messages": prompts.messages(tools=tools),
        "max_completion_tokens": tokens,
        "logprobs": boolean,
        "top_logprobs": integer(0, MAX_LOGPROBS),
        "metadata": _metadata,
        "store": _only(False),
        "response_format": structured.response_format if structured_output else _only({"type": "text"}),
        "tool_choice": structured.tool_choice if tools else _only("none"),
        "parallel_tool_calls": boolean,
        **({"tools": structured.tools} if tools else {}),
    }


def _check_together(passed: dict[str, Any], most: int) -> None:
    choices = passed.get("n", 1)
    if "stream_options" in passed and not passed.get("stream"):
        raise wrong("stream_options", "needs stream to be true")
    if "messages" in passed and "top_logprobs" in passed and not passed.get("logprobs"):
        raise wrong("top_logprobs", "needs logprobs to be true")
    if choices > 1 and passed.get("temperature") == 0:
        raise wrong("n", "must be 1 at temperature 0, where all answers are the same")
    if choices * len(passed.get("prompt", [()])) > MAX_ANSWERS:
        raise wrong("n", f"times the number of prompts must be at most {MAX_ANSWERS}")
    if passed.get("seed", 0) + choices > INT64:
        raise wrong("seed", f"must be at most 2**63 - {choices}, because each answer adds its place to it")
    if "max_tokens" in passed and "max_completion_tokens" in passed:
        raise wrong("max_completion_tokens", "and max_tokens exclude each other")
    if passed.get("min_tokens", 0) and not {"max_tokens", "max_completion_tokens"} & passed.keys():
        raise wrong("min_tokens", "needs max_tokens")
    if passed.get("min_tokens", 0) > most:
        raise wrong("min_tokens", f"must be at most {most}, the most tokens of this answer")


def _bounded_size(passed: dict[str, Any], most: int) -> int:
    found = prompts.size(passed)
    if found > most:
        name = "messages" if "messages" in passed else "prompt"
        raise wrong(name, f"must be at most {most} bytes; it is {found} bytes", "context_length_exceeded")
    return found


def _temperature(name: str, value: Any) -> float:
    found: float = number(0, 2)(name, value)
    return 0.0 if found < GREEDY_BELOW else found


def _stop(name: str, value: Any) -> list[str]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not 1 <= len(stops) <= MAX_STOPS:
        raise wrong(name, f"must be a text or a list of 1 to {MAX_STOPS} texts")
    return [text(1, MAX_STOP_CHARS)(name, stop) for stop in stops]


def _stream_options(name: str, value: Any) -> dict[str, bool]:
    return {key: boolean(f"{name}.{key}", each) for key, each in mapping(name, value, only=("include_usage",)).items()}


def _logit_bias(name: str, value: Any) -> dict[str, float]:
    within = number(-MAX_BIAS, MAX_BIAS)
    for id in mapping(name, value, most=MAX_BIASES):
        if not (id.isascii() and id.isdigit() and len(id) <= 10 and int(id) <= prompts.MAX_TOKEN_ID):
            raise wrong(name, "must have token ids as its names")
    return {str(int(id)): within(name, bias) for id, bias in value.items()}


def _metadata(name: str, value: Any) -> dict[str, str]:
    for key, each in mapping(name, value, most=MAX_METADATA).items():
        text(1, 64)(name, key)
        text(0, 512)(f"{name}.{key}", each)
    return value  # type: ignore[no-any-return]  # looked at above


def _only(harmless: Any) -> Check:
    """Return a check for a field that may only say what holds anyway."""

    def checked(name: str, value: Any) -> Any:
        if type(value) is not type(harmless) or value != harmless:
            raise unsupported(name, f"may only be {msgspec.json.encode(harmless).decode()} here")
        return value

    return checked
