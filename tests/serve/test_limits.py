import json
from typing import Any

import pytest

from serve.errors import InvalidRequest
from serve.limits import Asked, Kind, check

CHAT = {"model": "live", "messages": [{"role": "user", "content": "hi"}]}
TEXT = {"model": "live", "prompt": "hi"}


def ask(kind: Kind = "chat", **fields: Any) -> Asked:
    """Check a body made of defaults and ``fields``."""
    return check(json.dumps({**(CHAT if kind == "chat" else TEXT), **fields}).encode(), kind, 100)


def refused(kind: Kind = "chat", **fields: Any) -> InvalidRequest:
    """Return the refusal of a body."""
    with pytest.raises(InvalidRequest) as caught:
        ask(kind, **fields)
    return caught.value


def test_a_plain_request_passes_without_its_model() -> None:
    asked = ask(temperature=0, max_tokens=5, user="u1", stream=True)
    assert asked.model == "live"
    assert asked.stream
    assert asked.sampling == {"temperature": 0.0, "max_tokens": 5}
    assert set(asked.forward) == {"messages", "temperature", "max_tokens", "stream"}
    assert [(each.role, each.content) for each in asked.messages] == [("user", "hi")]


def test_a_text_prompt_becomes_one_message_and_token_ids_none() -> None:
    assert ask("text").messages[0].content == "hi"
    assert ask("text", prompt=["hi"]).forward["prompt"] == "hi"
    assert ask("text", prompt=[1, 2, 3]).messages == []


def test_null_counts_as_absent() -> None:
    assert "stop" not in ask(stop=None).forward


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert ask(messages=[{"role": "user", "content": parts}]).messages[0].content == "a\nb"


@pytest.mark.parametrize(
    "name",
    ["best_of", "echo", "logit_bias", "tools", "functions", "response_format", "guided_json", "structured_outputs",
     "bad_words", "allowed_token_ids", "prompt_logprobs", "ignore_eos", "chat_template",
     "chat_template_kwargs", "cache_salt", "priority", "kv_transfer_params", "vllm_xargs", "top_k", "min_p",
     "prompt_embeds", "truncate_prompt_tokens", "repetition_penalty", "request_id", "use_beam_search"],
)  # fmt: skip
def test_fields_that_are_not_listed_are_refused_by_name(name: str) -> None:
    error = refused(**{name: 1})
    assert (error.param, error.code) == (name, "unsupported_parameter")


def test_fields_of_the_other_endpoint_are_refused() -> None:
    assert refused("chat", prompt="x").param == "prompt"
    assert refused("text", messages=CHAT["messages"]).param == "messages"
    assert refused("text", max_completion_tokens=5).param == "max_completion_tokens"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0), ("max_tokens", 101), ("max_tokens", True), ("max_tokens", 1.5), ("max_tokens", "5"),
        ("min_tokens", -1), ("min_tokens", 101), ("min_tokens", 5.0),
        ("max_tokens", 10**40), ("max_completion_tokens", 101), ("temperature", -1), ("temperature", 2.1),
        ("temperature", "1"), ("temperature", 10**400), ("top_p", 0), ("top_p", 1.1), ("n", 0), ("n", 10),
        ("n", 10**20), ("stop", ""), ("stop", ["a", ""]), ("stop", ["a"] * 5), ("stop", "x" * 65), ("stop", 5),
        ("seed", 2**63), ("seed", -(2**63) - 1), ("seed", 1.0), ("stream", 1), ("stream", "true"),
        ("presence_penalty", 3), ("frequency_penalty", -2.5), ("user", 5), ("user", "x" * 257),
        ("return_token_ids", "no"), ("logprobs", 5), ("top_logprobs", 21), ("model", ""), ("model", 5),
        ("model", "x" * 201), ("messages", "hi"), ("messages", []), ("messages", [{}] * 257),
    ],
)  # fmt: skip
def test_values_out_of_bounds_are_refused_by_name(name: str, value: Any) -> None:
    assert refused(**{name: value}).param == name


def test_the_least_number_of_tokens_is_at_most_the_most() -> None:
    assert ask(min_tokens=5, max_tokens=5).forward["min_tokens"] == 5
    assert refused(min_tokens=6, max_tokens=5).param == "min_tokens"
    assert refused(min_tokens=6, max_completion_tokens=5).param == "min_tokens"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (5, "messages[0]"),
        ({"role": "tool", "content": "x"}, "messages[0].role"),
        ({"role": ["user"], "content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": None}, "messages[0].content"),
        ({"role": "user", "content": []}, "messages[0].content"),
        ({"role": "user", "content": "x", "name": "y"}, "messages[0].name"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "http://x"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, "messages[0].content[0].text"),
    ],
)
def test_malformed_messages_are_refused_by_place(message: Any, param: str) -> None:
    assert refused(messages=[message]).param == param


@pytest.mark.parametrize("prompt", ["", [], [""], ["a", "b"], [1, -2], [1, 2**31], [1, True], [[1]], 5, {"a": 1}])
def test_malformed_prompts_are_refused(prompt: Any) -> None:
    assert refused("text", prompt=prompt).param == "prompt"


def test_fields_that_contradict_each_other_are_refused() -> None:
    assert refused(stream_options={"include_usage": True}).param == "stream_options"
    assert refused(stream=True, stream_options={"other": True}).param == "stream_options"
    assert refused(top_logprobs=2).param == "top_logprobs"
    assert refused(n=2, temperature=0).param == "n"
    assert refused(max_tokens=5, max_completion_tokens=5).param == "max_completion_tokens"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b'"x"', b"null", b'{"model": NaN}', b"[" * 10_000, b"\xff\xfe{}", b'{"a":1}x']
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        check(body, "chat", 100)


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_required_fields_are_named(missing: str) -> None:
    body = {name: value for name, value in CHAT.items() if name != missing}
    with pytest.raises(InvalidRequest, match=f"{missing} is required"):
        check(json.dumps(body).encode(), "chat", 100)


def test_a_hostile_field_name_is_shortened() -> None:
    assert len(refused(**{"x" * 5000: 1}).param or "") == 64
