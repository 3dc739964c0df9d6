from typing import Any

import pytest

from serve.asking import prompts
from serve.errors import InvalidRequest


def refused(message: Any) -> InvalidRequest:
    """Return the refusal of a chat of one message."""
    with pytest.raises(InvalidRequest) as caught:
        prompts.messages(tools=False)("messages", [message])
    return caught.value


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert prompts.messages(tools=False)("messages", [{"role": "user", "content": parts}])[0]["content"] == "a\nb"


@pytest.mark.parametrize("content", ["", " ", "\n\t", "\u200b\u2060", "\x00"])
def test_a_text_that_shows_nothing_is_a_text(content: str) -> None:
    assert prompts.messages(tools=False)("messages", [{"role": "user", "content": content}])[0]["content"] == content


def test_an_answer_can_be_sent_back_as_a_client_holds_it() -> None:
    answer = {"role": "assistant", "content": "hi", "refusal": None, "tool_calls": [], "annotations": None, "name": "x"}
    assert prompts.messages(tools=False)("messages", [answer]) == [{"role": "assistant", "content": "hi"}]


def test_developer_means_system() -> None:
    assert prompts.messages(tools=False)("messages", [{"role": "developer", "content": "x"}])[0]["role"] == "system"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (5, "messages[0]"),
        ({"role": "root", "content": "x"}, "messages[0].role"),
        ({"role": "tool", "content": "x"}, "messages[0].role"),
        ({"role": ["user"], "content": "x"}, "messages[0].role"),
        ({"content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": None}, "messages[0].content"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "content": {}}, "messages[0].content"),
        ({"role": "user", "content": []}, "messages[0].content"),
        ({"role": "user", "content": "x", "name": ""}, "messages[0].name"),
        ({"role": "user", "content": "x", "name": "x" * 65}, "messages[0].name"),
        ({"role": "user", "content": "x", "weight": 0}, "messages[0].weight"),
        ({"role": "user", "content": "x", "tool_call_id": "1"}, "messages[0].tool_call_id"),
        ({"role": "user", "content": "x", "x" * 5000: 0}, f"messages[0].{'x' * 61}..."),
        ({"role": "assistant", "content": "x", "tool_calls": [{}]}, "messages[0].tool_calls"),
        ({"role": "assistant", "content": "x", "refusal": "no"}, "messages[0].refusal"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "http://x"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text", "text": "x", "uuid": "y"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, "messages[0].content[0].text"),
    ],
)
def test_malformed_messages_are_refused_by_place(message: Any, param: str) -> None:
    assert refused(message).param == param


@pytest.mark.parametrize(
    "prompt",
    ["", [], [""], ["a", ""], [1, -2], [1, 2**31], [1, True], [[1, True]], [True], [1, "a"], ["a", 1], ["a", [1]],
     [[1], "a"], [[]], [[1], []], [[[1]]], 5, {"a": 1}, None, ["x"] * 17, [[1]] * 17, ["x"] * 10_000],
)  # fmt: skip
def test_malformed_prompts_are_refused(prompt: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        prompts.prompt("prompt", prompt)
    assert caught.value.param == "prompt"


def test_prompts_come_back_as_a_list() -> None:
    assert prompts.prompt("prompt", "a") == ["a"]
    assert prompts.prompt("prompt", [1, 2]) == [[1, 2]]
    assert prompts.prompt("prompt", ["a", "b"]) == ["a", "b"]
    assert prompts.prompt("prompt", [[1], [2, 3]]) == [[1], [2, 3]]


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_calls_and_results_of_tools_are_taken_where_tools_are_on() -> None:
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None},
        {"role": "tool", "tool_call_id": "c1", "content": "5"},
    ]
    assert prompts.messages(tools=True)("messages", turns) == [
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "5"},
    ]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "tool", "content": "x", "tool_call_id": ""}, "messages[0].tool_call_id"),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "messages[0].tool_calls"),
        ({"role": "assistant", "content": None}, "messages[0].content"),
        ({"role": "assistant", "tool_calls": [{**CALL, "type": "x"}]}, "messages[0].tool_calls[0].type"),
        ({"role": "assistant", "tool_calls": [{**CALL, "id": 5}]}, "messages[0].tool_calls[0].id"),
        ({"role": "assistant", "tool_calls": [{**CALL, "function": 5}]}, "messages[0].tool_calls[0].function"),
        ({"role": "assistant", "tool_calls": [CALL] * 17}, "messages[0].tool_calls"),
    ],
)
def test_malformed_calls_are_refused_by_place(message: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        prompts.messages(tools=True)("messages", [message])
    assert caught.value.param == param


def test_a_chat_with_tools_is_nobodys_to_label() -> None:
    plain = {"role": "user", "content": "x"}
    assert prompts.conversations({"messages": [plain], "tools": []}) == [[]]
    assert prompts.conversations({"messages": [plain, {"role": "tool", "content": "5", "tool_call_id": "1"}]}) == [[]]
    assert len(prompts.conversations({"messages": [plain]})[0]) == 1


def test_tools_and_calls_count_into_the_prompts_size() -> None:
    plain = {"role": "user", "content": "xy"}
    assert prompts.size({"messages": [plain]}) == 2
    assert prompts.size({"messages": [plain], "tools": [{"a": 1}]}) == 2 + len('[{"a":1}]')
    assert prompts.size({"messages": [plain, {"role": "assistant", "content": "", "tool_calls": []}]}) == 4
