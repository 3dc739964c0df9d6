"""The two completion routes in OpenAPI's words: what may be asked, with the bounds of `serve.asking.limits`.

These routes are pure ASGI, so nothing derives this; a test holds every field and bound against the allowlist itself.
"""

from typing import Any

from serve.asking import limits, prompts, structured
from serve.asking.bounds import MAX_NAME_CHARS
from serve.asking.jsonbody import INT64
from serve.asking.limits import Kind
from serve.door import idempotency
from serve.door.wishes import MAX_CONVERSATION_CHARS
from serve.settings import ServeSettings

Schema = dict[str, Any]


def parameters(settings: ServeSettings) -> list[Schema]:
    """Return the headers that a completion request may have."""
    return [
        _header("X-Whetstone-Consent", {"enum": ["yes", "no"]}, "`no` keeps this request out of the log."),
        _header(
            "X-Deadline-S",
            {"type": "number", "exclusiveMinimum": 0},
            f"Seconds until the answer must be complete; at most {settings.max_deadline_s:g} count.",
        ),
        _header("X-Priority", {"enum": ["normal", "background"]}, "`background` gives way to everybody else."),
        _header(
            "X-Conversation-Id",
            {"type": "string", "pattern": r"^[\x21-\x7e]+$", "maxLength": MAX_CONVERSATION_CHARS},
            "Requests of one conversation are answered by one version while a canary runs.",
        ),
        _header(
            idempotency.HEADER,
            {"type": "string", "pattern": f"^{idempotency.NAME.pattern}$"},
            "The same request under the same key is answered once; not for streams.",
        ),
    ]


def _header(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": description}


def request(kind: Kind, settings: ServeSettings) -> Schema:
    """Return the schema of a request body; fields that are not in it are refused by name."""
    prompt = "messages" if kind == "chat" else "prompt"
    return {
        "type": "object",
        "properties": {name: _or_null(field) for name, field in fields(kind, settings).items()},
        "required": ["model", prompt],
        "additionalProperties": False,
    }


def _or_null(field: Schema) -> Schema:
    """Return a field's schema, to which null is the same as absence."""
    return {"anyOf": [field, {"type": "null"}]}


def fields(kind: Kind, settings: ServeSettings) -> dict[str, Schema]:
    """Return field -> schema of what the allowlist takes."""
    tokens = _integer(1, settings.max_tokens)
    shared: dict[str, Schema] = {
        "model": _text(1, 200) | {"description": "live, previous, candidate or a version such as policy-0007"},
        "max_tokens": tokens,
        "min_tokens": _integer(0, settings.max_tokens),
        "temperature": _number(0, 2),
        "top_p": _number(0, 1, open_below=True),
        "top_k": _integer(-1, limits.MAX_TOP_K),
        "min_p": _number(0, 1),
        "n": _integer(1, limits.MAX_CHOICES),
        "stop": {"anyOf": [_text(1, limits.MAX_STOP_CHARS), _list(_text(1, limits.MAX_STOP_CHARS), limits.MAX_STOPS)]},
        "seed": _integer(0, INT64 - 1),
        "stream": {"type": "boolean"},
        "stream_options": _object({"include_usage": {"type": "boolean"}}),
        "presence_penalty": _number(-2, 2),
        "frequency_penalty": _number(-2, 2),
        "repetition_penalty": _number(0, 2, open_below=True),
        "logit_bias": {
            "type": "object",
            "maxProperties": limits.MAX_BIASES,
            "propertyNames": {"pattern": "^[0-9]{1,10}$"},
            "additionalProperties": _number(-limits.MAX_BIAS, limits.MAX_BIAS),
        },
        "user": _text(0, 256),
        "return_token_ids": {"type": "boolean"},
    }
    if kind == "text":
        return shared | {"prompt": _prompt(), "logprobs": _integer(0, limits.MAX_LOGPROBS)}
    return shared | _chat(tokens, settings)


def _chat(tokens: Schema, settings: ServeSettings) -> dict[str, Schema]:
    found: dict[str, Schema] = {
        "messages": _list(_message(settings), prompts.MAX_MESSAGES),
        "max_completion_tokens": tokens,
        "logprobs": {"type": "boolean"},
        "top_logprobs": _integer(0, limits.MAX_LOGPROBS),
        "metadata": {
            "type": "object",
            "maxProperties": limits.MAX_METADATA,
            "additionalProperties": {"type": "string"},
        },
        "store": {"const": False},
        "response_format": _object({"type": {"const": "text"}}, ["type"]),
        "tool_choice": {"const": "none"},
        "parallel_tool_calls": {"type": "boolean"},
    }
    if settings.structured_output:
        kinds = {"enum": ["text", "json_object", "json_schema"]}
        found["response_format"] = _object({"type": kinds, "json_schema": {"type": "object"}}, ["type"])
    if settings.tools:
        found["tool_choice"] = {"anyOf": [{"enum": list(structured.CHOICES)}, {"type": "object"}]}
        found["tools"] = _list({"type": "object"}, structured.MAX_TOOLS)
    return found


def _message(settings: ServeSettings) -> Schema:
    part = _object({"type": {"const": "text"}, "text": {"type": "string"}}, ["type", "text"])
    roles = [*prompts.ROLES, *(["tool"] if settings.tools else [])]
    properties: dict[str, Schema] = {
        "role": {"enum": roles},
        "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": part, "minItems": 1}]},
        "name": _text(1, MAX_NAME_CHARS),
    }
    if settings.tools:
        properties |= {"tool_calls": {"type": "array"}, "tool_call_id": _text(1, MAX_NAME_CHARS)}
    return {"type": "object", "properties": properties, "required": ["role"] if settings.tools else ["role", "content"]}


def _prompt() -> Schema:
    ids = _list(_integer(0, prompts.MAX_TOKEN_ID))
    text = {"type": "string", "minLength": 1}
    return {"anyOf": [text, _list(text, prompts.MAX_PROMPTS), ids, _list(ids, prompts.MAX_PROMPTS)]}


def answers(kind: Kind) -> Schema:
    """Return the content of a successful answer, whole or as events."""
    said: Schema = {"message": {"type": "object"}} if kind == "chat" else {"text": {"type": "string"}}
    finish = {"finish_reason": {"type": ["string", "null"]}}
    choice = {"type": "object", "properties": {"index": {"type": "integer"}, **said, **finish}}
    whole = {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "Send it to /v1/feedback as `interaction_id`."},
            "object": {"type": "string"},
            "model": {"type": "string", "description": "The exact version that answered."},
            "choices": {"type": "array", "items": choice},
            "usage": {"type": "object"},
        },
        "required": ["id", "model", "choices"],
    }
    events = {"type": "string", "description": "Server-sent events with `stream`: chunks, at last `data: [DONE]`."}
    return {"application/json": {"schema": whole}, "text/event-stream": {"schema": events}}


def _integer(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def _number(low: float, high: float, *, open_below: bool = False) -> Schema:
    return {"type": "number", "exclusiveMinimum" if open_below else "minimum": low, "maximum": high}


def _text(shortest: int, longest: int) -> Schema:
    return {"type": "string", "minLength": shortest, "maxLength": longest}


def _list(items: Schema, most: int | None = None) -> Schema:
    return {"type": "array", "items": items, "minItems": 1} | ({} if most is None else {"maxItems": most})


def _object(properties: dict[str, Schema], required: list[str] | None = None) -> Schema:
    return {"type": "object", "properties": properties, "required": required or [], "additionalProperties": False}
