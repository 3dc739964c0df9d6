from typing import Any

import pytest

from serve import prompts
from serve.errors import InvalidRequest


def refused(message: Any) -> InvalidRequest:
    """Return the refusal of a chat of one message."""
    with pytest.raises(InvalidRequest) as caught:
        prompts.messages("messages", [message])
    return caught.value


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert prompts.messages("messages", [{"role": "user", "content": parts}])[0]["content"] == "a\nb"


@pytest.mark.parametrize("content", ["", " ", "\n\t", "\u200b\u2060", "\x00"])
def test_a_text_that_shows_nothing_is_a_text(content: str) -> None:
    assert prompts.messages("messages", [{"role": "user", "content": content}])[0]["content"] == content


def test_an_answer_can_be_sent_back_as_a_client_holds_it() -> None:
    answer = {"role": "assistant", "content": "hi", "refusal": None, "tool_calls": [], "annotations": None, "name": "x"}
    assert prompts.messages("messages", [answer]) == [{"role": "assistant", "content": "hi"}]


def test_developer_means_system() -> None:
    assert prompts.messages("messages", [{"role": "developer", "content": "x"}])[0]["role"] == "system"


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
