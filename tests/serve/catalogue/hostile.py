"""Requests that ask for what must not be had: rows 36 to 64 of the bad-input catalogue that end in a refusal.

Among them is every field through which an inference engine's published weaknesses were reached.
"""

import json
from typing import Any, NamedTuple

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
BASE: dict[str, dict[str, Any]] = {
    CHAT: {"model": "live", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8},
    TEXT: {"model": "live", "prompt": "hello", "max_tokens": 8},
}
GONE = object()
"""In a case's fields: the field is left out."""
BEYOND = 262
"""First token id beyond the test policies' vocabulary."""
SCHEMA_LOOP = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
PATTERN = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+b"}}}
TEMPLATE_LOOP = "{% for a in range(1000000000) %}{% for b in range(1000000000) %}{% endfor %}{% endfor %}"


class Case(NamedTuple):
    """One hostile request, and the field that its refusal must name (none where only the refusal counts)."""

    row: int
    path: str
    fields: dict[str, Any]
    param: str | None = None

    def body(self) -> bytes:
        """Return the request's body."""
        fields = {**BASE[self.path], **self.fields}
        return json.dumps({name: value for name, value in fields.items() if value is not GONE}).encode()


def values(row: int, name: str, *hostile: Any, param: str | None = None, **others: Any) -> list[Case]:
    """Return a chat for each value of a field."""
    return [Case(row, CHAT, {**others, name: value}, param or name) for value in hostile]


def turn(row: int, *hostile: Any) -> list[Case]:
    """Return a chat for each message."""
    return [Case(row, CHAT, {"messages": [message]}) for message in hostile]


def form(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def tool(**function: Any) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "f", **function}}]


def part(kind: str, value: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": kind, kind: value}]}


HOSTILE = [
    *values(36, "messages", GONE, [], [{"role": "user", "content": "x"}] * 10_000, "hello", {}),
    *turn(
        37, {}, {"role": "user"}, {"content": "x"}, {"role": "root", "content": "x"}, {"role": ["user"], "content": "x"}
    ),
    *(turn(37, *({"role": "user", "content": content} for content in (None, 5, {}, [], True, [5], ["x"])))),
    *(
        turn(
            39,
            *(part(kind, {"url": "http://127.0.0.1:9/x"}) for kind in ("image_url", "audio_url", "video_url", "file")),
        )
    ),
    *turn(39, part("input_audio", {"data": "x"}), part("image_embeds", "x"), part("audio_embeds", "x")),
    *values(44, "max_tokens", 0, -1, 1.5, "5", 2**31, 2**63, True, [5]),
    *values(44, "max_completion_tokens", 0, 2**31, max_tokens=GONE),
    *values(45, "min_tokens", 9, -1, 2**40, "1"),
    *values(45, "min_tokens", 5, max_tokens=None),
    *values(46, "n", 0, -1, 10, 16_384, 10**9, "2", 1.5, True),
    *values(48, "best_of", 1, 2, 10**9),
    *values(48, "use_beam_search", True, False),
    *values(48, "length_penalty", 1.0, -5),
    *values(49, "temperature", -0.1, 2.1, "hot", 1e300, True),
    *values(50, "top_p", 0, 1.1, -1, "x"),
    *values(50, "top_k", -2, 10**9, 1.5),
    *values(50, "min_p", 2, -0.1),
    *values(51, "presence_penalty", 2.1, -2.1),
    *values(51, "frequency_penalty", 2.1, -2.1, "x"),
    *values(51, "repetition_penalty", 0, -1, 1e30),
    *values(52, "top_logprobs", 5, -1, 10**6),
    *values(52, "logprobs", -1, 10**6, "x"),
    *values(52, "prompt_logprobs", -1, 0, 1, 10**6),
    *values(52, "logprob_token_ids", [1], [-1], [BEYOND]),
    *(Case(52, TEXT, {"logprobs": value}, "logprobs") for value in (-1, 21, 10**6, True)),
    *values(53, "logit_bias", {"-1": 1}, {str(BEYOND): 1}, {"2147483647": 1}, {"5": 1000}, {"abc": 1}, {"5": "x"}, []),
    *values(53, "logit_bias", {str(id): 1 for id in range(10_000)}),
    *values(54, "stop", ["a"] * 5, "", [""], "x" * 65, 5, [["a"]], [5], "y" * 500_000),
    *values(55, "stop_token_ids", [-1], [10**9], [5]),
    *values(55, "ignore_eos", True, False),
    *values(55, "bad_words", ["x"] * 10_000, ["\U0010ffff"], [""]),
    *values(55, "allowed_token_ids", [], [-1], [BEYOND], [5]),
    *values(56, "seed", -1, 2**63, 2**64, "x", 1.5),
    *values(57, "response_format", form(SCHEMA_LOOP), form({"description": "x" * 900_000}), form(PATTERN), form({})),
    *values(57, "response_format", {"type": "json_object"}, {"type": "structural_tag"}, {"type": "x"}, "json", []),
    *values(58, "guided_regex", "", "(a+)+b", None),
    *values(58, "guided_json", {}, "", SCHEMA_LOOP),
    *values(58, "guided_choice", [], ["a"]),
    *values(58, "guided_grammar", "", "root ::= root"),
    *values(58, "structured_outputs", {}, {"regex": "(a+)+b"}, {"json": ""}, {"grammar": "root ::= root"}),
    *values(58, "guided_decoding_backend", "outlines:disable-any-whitespace"),
    *values(59, "tools", [], [{"type": "x"}], tool(parameters={"type": 5}), tool(parameters=PATTERN), tool()),
    *values(59, "tool_choice", "x", "auto", "required", {"type": "function", "function": {"name": "f"}}),
    *values(59, "functions", [], [{"name": "f"}]),
    *values(59, "function_call", "auto", {"name": "f"}),
    *values(60, "chat_template", "", TEMPLATE_LOOP, "{{ messages.__class__.__mro__ }}"),
    *values(60, "chat_template_kwargs", {}, {"chat_template": TEMPLATE_LOOP}, {"enable_thinking": True}),
    *values(60, "documents", [{"title": "x", "text": "y"}]),
    *values(60, "add_generation_prompt", False),
    *values(60, "continue_final_message", True),
    *values(61, "prompt_embeds", "AAAA", [], ""),
    *values(61, "kv_transfer_params", {}, {"do_remote_prefill": True, "remote_host": "127.0.0.1"}),
    *values(61, "ec_transfer_params", {}),
    *values(61, "cache_salt", "x", ""),
    *values(61, "priority", -1, 0, 2**63),
    *values(61, "truncate_prompt_tokens", -1, 1),
    *values(61, "vllm_xargs", {}, {"a": 2**70}, param=None),
    *values(61, "mm_processor_kwargs", {"a": 1}),
    *values(61, "media_io_kwargs", {"image": {}}),
    *values(61, "request_id", "x"),
    *values(61, "session_id", "x"),
    *values(61, "repetition_detection", {}),
    *values(61, "thinking_token_budget", -5),
    *values(61, "skip_special_tokens", False),
    *values(61, "include_stop_str_in_output", True),
    *values(61, "return_prompt_text", True),
    *values(61, "echo", True),
    *values(61, "unheard_of", None),
    *(Case(61, TEXT, {name: True}, name) for name in ("echo", "suffix", "add_special_tokens", "prompt_embeds")),
    *(
        Case(62, TEXT, {"prompt": prompt})
        for prompt in (
            *([-1], [BEYOND], [2**31 - 1], [2**40], [True], [1, "a"], ["a", 1], [[1], "a"], [[BEYOND], [1]], [[]], []),
            *(["x"] * 10_000, [[1]] * 17, "", None, 5, {}, [None], [1.5]),
        )
    ),
    *values(63, "model", GONE, "", 5, None, ["live"], "x" * 10_240),
    *values(64, "stream", "yes", 1, "true"),
    *values(64, "stream_options", {"include_usage": True}, {}, "x"),
    *values(64, "stream_options", {"include_usage": "x"}, param="stream_options.include_usage", stream=True),
    *values(64, "stream_options", {"x": True}, param="stream_options.x", stream=True),
]
"""Of these none may be answered, and none may reach an engine's work."""

LEGAL = [
    {"logit_bias": {"5": -100.0, "261": 100.0}, "temperature": 2.0, "top_p": 1e-300, "min_p": 1.0, "top_k": 1},
    {"presence_penalty": 2.0, "frequency_penalty": -2.0, "repetition_penalty": 1e-300, "temperature": 1.0, "n": 9},
    {"repetition_penalty": 2.0, "seed": 2**63 - 10, "n": 9, "temperature": 1e-5, "top_k": 1_000_000},
    {"logit_bias": {str(id): -100.0 for id in range(BEYOND)}, "temperature": 1.0},
    {"min_tokens": 8, "logit_bias": {"2": 100.0}, "stop": ["a", "b", "c", "d"]},
    {"logprobs": True, "top_logprobs": 20, "temperature": 1e-300},
    {"messages": [{"role": "user", "content": ""}] * 100},
    {"messages": [{"role": "assistant", "content": "<eos><|system|>\u0000\u202e\ufeff"}]},
]
"""Chats at the edge of what is allowed: answered, and of no matter to anybody else."""
