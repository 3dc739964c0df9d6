"""The written schemas against the allowlist that decides: the same fields, the same bounds."""

import inspect
import json
import re
from typing import Any, get_args

import jsonschema_rs
import pytest

from serve import openapi_completions
from serve.asking import limits
from serve.asking.limits import Kind, check
from serve.door import idempotency, wishes
from serve.errors import InvalidRequest
from serve.openapi_completions import fields, parameters, request
from serve.settings import ServeSettings

PLAIN = ServeSettings.load()
WIDE = ServeSettings.load(structured_output=True, tools=True, max_tokens=1000)
PROMPTS: dict[str, dict[str, Any]] = {
    "chat": {"model": "live", "messages": [{"role": "user", "content": "hi"}]},
    "text": {"model": "live", "prompt": "hi"},
}


def taken(kind: Kind, settings: ServeSettings, **given: Any) -> bool:
    try:
        check(json.dumps(PROMPTS[kind] | given).encode(), kind, settings)
    except InvalidRequest:
        return False
    return True


@pytest.mark.parametrize("settings", [PLAIN, WIDE], ids=["plain", "wide"])
@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_schema_has_exactly_the_fields_that_are_taken(kind: Kind, settings: ServeSettings) -> None:
    assert set(fields(kind, settings)) == set(limits._checks(kind, settings))
    jsonschema_rs.validator_for(request(kind, settings)).validate(PROMPTS[kind])


TOGETHER: dict[str, dict[str, Any]] = {
    "min_tokens": {"max_tokens": 256},
    "top_logprobs": {"logprobs": True},
    "seed": {},
    "n": {"temperature": 1},
}
"""What a field needs beside it to be taken."""


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_bound_is_where_the_schema_says(kind: Kind) -> None:
    tried = 0
    for name, field in fields(kind, PLAIN).items():
        beside = TOGETHER.get(name, {}) if kind == "chat" or name != "top_logprobs" else {}
        for low, step in ((field.get("minimum"), -1), (field.get("maximum"), 1)):
            if low is None:
                continue
            tried += 1
            edge = low - 0 if name != "seed" or step < 0 else low - 1
            assert taken(kind, PLAIN, **beside, **{name: edge}), (name, edge)
            assert not taken(kind, PLAIN, **beside, **{name: low + step}), (name, low + step)
        if "exclusiveMinimum" in field:
            assert not taken(kind, PLAIN, **{name: field["exclusiveMinimum"]}), name
        if "maxLength" in field:
            assert taken(kind, PLAIN, **{name: "x" * field["maxLength"]}), name
            assert not taken(kind, PLAIN, **{name: "x" * (field["maxLength"] + 1)}), name
    assert tried >= 12


@pytest.mark.parametrize(
    ("kind", "given", "sound"),
    [
        ("chat", {"stop": ["a", "b"]}, True),
        ("chat", {"stop": ["a"] * (limits.MAX_STOPS + 1)}, False),
        ("chat", {"stop": [""]}, False),
        ("chat", {"logit_bias": {"5": -100}}, True),
        ("chat", {"logit_bias": {"x": 1}}, False),
        ("chat", {"logit_bias": {"5": 101}}, False),
        ("chat", {"stream": True, "stream_options": {"include_usage": True}}, True),
        ("chat", {"stream": True, "stream_options": {"other": True}}, False),
        ("chat", {"store": False, "response_format": {"type": "text"}, "tool_choice": "none"}, True),
        ("chat", {"store": True}, False),
        ("chat", {"response_format": {"type": "json_object"}}, False),
        ("chat", {"tools": []}, False),
        ("chat", {"messages": [{"role": "developer", "content": [{"type": "text", "text": "x"}]}]}, True),
        ("chat", {"messages": [{"role": "root", "content": "x"}]}, False),
        ("chat", {"messages": [{"role": "user"}]}, False),
        ("chat", {"messages": []}, False),
        ("chat", {"guided_json": {}}, False),
        ("text", {"prompt": ["a", "b"]}, True),
        ("text", {"prompt": [1, 2]}, True),
        ("text", {"prompt": [[1], [2]]}, True),
        ("text", {"prompt": []}, False),
        ("text", {"prompt": [-1]}, False),
        ("text", {"echo": True}, False),
        ("text", {"seed": None}, True),
    ],
)
def test_schema_and_allowlist_agree(kind: Kind, given: dict[str, Any], sound: bool) -> None:
    assert taken(kind, PLAIN, **given) is sound
    validator = jsonschema_rs.validator_for(request(kind, PLAIN))
    assert validator.is_valid(PROMPTS[kind] | given) is sound


def test_what_is_switched_on_is_in_the_schema() -> None:
    assert "tools" not in fields("chat", PLAIN)
    assert "tools" in fields("chat", WIDE)
    assert "json_schema" in str(fields("chat", WIDE)["response_format"])
    assert fields("chat", WIDE)["max_tokens"]["maximum"] == 1000


def test_the_headers_are_those_that_are_read() -> None:
    names = {each["name"] for each in parameters(PLAIN)}
    read = set(re.findall(r'"(X-[A-Za-z-]+)"', inspect.getsource(wishes)))
    assert names == read | {idempotency.HEADER}
    assert len(names) == 5
    assert all(each["description"] for each in parameters(PLAIN))
    assert set(openapi_completions.answers("chat")) == {"application/json", "text/event-stream"}
