import json
from typing import Any

import pytest

from serve.asking.limits import MAX_ANSWERS, MAX_BIASES, Asked, Kind, check
from serve.errors import InvalidRequest
from serve.settings import ServeSettings

SETTINGS = ServeSettings(max_tokens=100, max_prompt_bytes=1000)
CHAT = {"model": "live", "messages": [{"role": "user", "content": "hi"}]}
TEXT = {"model": "live", "prompt": "hi"}


def ask(kind: Kind = "chat", **fields: Any) -> Asked:
    """Check a body made of defaults and ``fields``."""
    return check(json.dumps({**(CHAT if kind == "chat" else TEXT), **fields}).encode(), kind, SETTINGS)


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
    assert ask("text", prompt=["hi"]).forward["prompt"] == ["hi"]
    assert ask("text", prompt=[1, 2, 3]).forward["prompt"] == [[1, 2, 3]]
    assert ask("text", prompt=[1, 2, 3]).prompts == [[]]


def test_each_prompt_of_a_batch_is_a_conversation() -> None:
    asked = ask("text", prompt=["one", "two"])
    assert [[each.content for each in prompt] for prompt in asked.prompts] == [["one"], ["two"]]
    assert ask("text", prompt=[[1, 2], [3]]).prompts == [[], []]


def test_what_a_request_may_cost_is_known_before_it_is_tokenised() -> None:
    asked = ask(n=3, max_completion_tokens=7, messages=[{"role": "user", "content": "\u00fc\u20ac"}] * 2)
    assert (asked.n, asked.max_tokens, asked.prompt_bytes) == (3, 7, 10)
    assert (ask().n, ask().max_tokens) == (1, 100)
    assert ask("text", prompt=[[1, 2], [3]]).prompt_bytes == 12
    assert ask("text", prompt=["ab", "c"]).prompt_bytes == 3


def test_prompts_are_bounded_in_bytes() -> None:
    assert ask("text", prompt="x" * 1000).prompt_bytes == 1000
    for kind, fields in (
        ("chat", {"messages": [{"role": "user", "content": "\u00fc" * 500}, {"role": "user", "content": "x"}]}),
        ("text", {"prompt": ["x" * 500, "y" * 501]}),
        ("text", {"prompt": [1] * 251}),
    ):
        error = refused(kind, **fields)  # type: ignore[arg-type]
        assert (error.code, error.param) == ("context_length_exceeded", "prompt" if kind == "text" else "messages")


def test_null_counts_as_absent() -> None:
    assert "stop" not in ask(stop=None).forward


@pytest.mark.parametrize(
    "name",
    ["best_of", "echo", "suffix", "tools", "functions", "function_call", "guided_json", "guided_regex",
     "guided_choice", "guided_grammar", "structured_outputs", "bad_words", "allowed_token_ids", "prompt_logprobs",
     "logprob_token_ids", "ignore_eos", "stop_token_ids", "include_stop_str_in_output", "skip_special_tokens",
     "chat_template", "chat_template_kwargs", "cache_salt", "priority", "kv_transfer_params", "ec_transfer_params",
     "vllm_xargs", "prompt_embeds", "truncate_prompt_tokens", "request_id", "session_id", "use_beam_search",
     "length_penalty", "add_generation_prompt", "continue_final_message", "documents", "media_io_kwargs",
     "mm_processor_kwargs", "repetition_detection", "thinking_token_budget", "reasoning_effort", "", "__proto__"],
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
        ("seed", 2**63), ("seed", -1), ("seed", -(2**63) - 1), ("seed", "x"), ("seed", 1.0),
        ("stream", 1), ("stream", "true"),
        ("presence_penalty", 3), ("frequency_penalty", -2.5), ("user", 5), ("user", "x" * 257),
        ("return_token_ids", "no"), ("logprobs", 5), ("top_logprobs", 21), ("model", ""), ("model", 5),
        ("model", "x" * 201), ("messages", "hi"), ("messages", []), ("messages", [{}] * 257),
        ("top_k", -2), ("top_k", 10**9), ("top_k", 1.0), ("min_p", 2), ("min_p", -0.1), ("repetition_penalty", 0),
        ("repetition_penalty", -1), ("repetition_penalty", 2.1), ("logit_bias", []), ("logit_bias", {"-1": 1}),
        ("logit_bias", {"abc": 1}), ("logit_bias", {"1": 1000}), ("logit_bias", {"1": "x"}),
        ("logit_bias", {str(2**31): 1}), ("logit_bias", {"\u0661": 1}),
        ("logit_bias", {str(id): 1 for id in range(MAX_BIASES + 1)}), ("metadata", "x"), ("metadata", {"a": 1}),
        ("metadata", {"a": "x" * 513}), ("metadata", {str(name): "" for name in range(17)}), ("store", True),
        ("store", 0), ("response_format", {"type": "json_object"}), ("response_format", "text"),
        ("tool_choice", "auto"), ("parallel_tool_calls", 1),
    ],
)  # fmt: skip
def test_values_out_of_bounds_are_refused_by_name(name: str, value: Any) -> None:
    assert (refused(**{name: value}).param or "").partition(".")[0] == name


def test_what_clients_send_without_meaning_anything_is_taken_and_dropped() -> None:
    inert = {"metadata": {"a": "%s {{x}}"}, "store": False, "response_format": {"type": "text"}, "tool_choice": "none",
             "parallel_tool_calls": True, "user": "$where"}  # fmt: skip
    assert ask(**inert).forward == ask().forward


def test_sampling_fields_within_bounds_are_forwarded() -> None:
    fields = {"top_k": -1, "min_p": 0.1, "repetition_penalty": 1.1, "logit_bias": {"5": -100.0}, "seed": 2**63 - 1}
    asked = ask(**fields)
    assert {name: asked.forward[name] for name in fields} == fields
    assert asked.sampling == fields


def test_a_tiny_temperature_is_greedy() -> None:
    assert ask(temperature=1e-300).forward["temperature"] == 0
    assert ask(temperature=1e-5).forward["temperature"] == 1e-5


def test_answers_over_all_prompts_are_bounded() -> None:
    assert ask("text", prompt=["x"] * MAX_ANSWERS).n == 1
    assert refused("text", prompt=["x"] * 6, n=3).param == "n"
    assert refused("text", prompt=["x"] * (MAX_ANSWERS + 1)).param == "prompt"


def test_each_answers_seed_stays_within_64_bits() -> None:
    assert refused(seed=2**63 - 1, n=2).param == "seed"


def test_the_least_number_of_tokens_is_at_most_the_most() -> None:
    assert ask(min_tokens=5, max_tokens=5).forward["min_tokens"] == 5
    assert refused(min_tokens=6, max_tokens=5).param == "min_tokens"
    assert refused(min_tokens=6, max_completion_tokens=5).param == "min_tokens"
    assert refused(min_tokens=6).param == "min_tokens"


def test_fields_that_contradict_each_other_are_refused() -> None:
    assert refused(stream_options={"include_usage": True}).param == "stream_options"
    assert refused(stream=True, stream_options={"other": True}).param == "stream_options.other"
    assert refused(top_logprobs=2).param == "top_logprobs"
    assert refused(n=2, temperature=0).param == "n"
    assert refused(max_tokens=5, max_completion_tokens=5).param == "max_completion_tokens"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b'"x"', b"null", b'{"model": NaN}', b"[" * 10_000, b"\xff\xfe{}", b'{"a":1}x']
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        check(body, "chat", SETTINGS)


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_required_fields_are_named(missing: str) -> None:
    body = {name: value for name, value in CHAT.items() if name != missing}
    with pytest.raises(InvalidRequest, match=f"{missing} is required"):
        check(json.dumps(body).encode(), "chat", SETTINGS)


def test_a_hostile_field_name_is_shortened() -> None:
    assert len(refused(**{"x" * 5000: 1}).param or "") == 64
