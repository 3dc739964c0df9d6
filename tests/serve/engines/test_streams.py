"""Quick streams say byte for byte what vLLM's own would."""

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("vllm")

ODD = ["a", "", 'q"\\/', "\n\t\b\f\x00\x1f\x7f", "é\u2028😀", "</script>", "", "end"]


def results(texts: list[str], finish: str | None = "stop", fault: Exception | None = None) -> AsyncIterator[Any]:
    """Return what an engine gives for these texts, one token each."""
    from vllm.outputs import CompletionOutput, RequestOutput

    async def given() -> AsyncIterator[Any]:
        for place, text in enumerate(texts):
            last = place + 1 == len(texts)
            output = CompletionOutput(
                index=0, text=text, token_ids=[place], cumulative_logprob=None, logprobs=None,
                finish_reason=finish if last else None,
            )  # fmt: skip
            yield RequestOutput(
                request_id="chatcmpl-1", prompt="p", prompt_token_ids=[1, 2, 3], prompt_logprobs=None,
                outputs=[output], finished=last,
            )  # fmt: skip
            if fault is not None:
                raise fault

    return given()


def chat_handler() -> Any:
    """Return vLLM's chat handler with nothing but what streaming touches."""
    from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat

    chat = object.__new__(OpenAIServingChat)
    for name, value in {
        "parser_cls": None, "enable_log_outputs": False, "request_logger": None, "enable_log_deltas": False,
        "response_role": "assistant", "enable_force_include_usage": False, "system_fingerprint": "f-1",
        "_include_reasoning_tokens_details": False, "enable_prompt_tokens_details": False,
        "enable_per_request_metrics": False, "log_error_stack": False,
    }.items():  # fmt: skip
        setattr(chat, name, value)
    return chat


def events(chat: Any, given: AsyncIterator[Any], **fields: Any) -> list[str]:
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    body = {"model": "policy-0007", "messages": [{"role": "user", "content": "hi"}], "stream": True, **fields}
    request = ChatCompletionRequest(**body)

    async def listen() -> list[str]:
        stream = chat.chat_completion_stream_generator(
            request, given, "chatcmpl-1", "policy-0007", [], SimpleNamespace(), SimpleNamespace(),
            chat_template_kwargs=None, mm_token_counts=None,
        )  # fmt: skip
        return [event async for event in stream]

    return asyncio.run(listen())


@pytest.fixture
def frozen_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)


@pytest.mark.usefixtures("frozen_clock")
@pytest.mark.parametrize("usage", [None, {"include_usage": True}])
@pytest.mark.parametrize("texts", [ODD, ["only"], ["", "late"], ["a", "b"]])
@pytest.mark.parametrize("finish", ["stop", "length", "abort"])
def test_plain_streams_are_byte_for_byte_vllms(usage: Any, texts: list[str], finish: str) -> None:
    from serve.engines.streams import install

    quick = chat_handler()
    install(quick)
    fields = {"stream_options": usage} if usage else {}
    expected = events(chat_handler(), results(texts, finish), **fields)
    assert expected[-1] == "data: [DONE]\n\n"
    assert events(quick, results(texts, finish), **fields) == expected


@pytest.mark.usefixtures("frozen_clock")
def test_a_fault_in_the_middle_is_told_as_vllm_tells_it() -> None:
    from serve.engines.streams import install

    quick = chat_handler()
    install(quick)
    expected = events(chat_handler(), results(["a", "b", "c"], fault=ValueError("broken")))
    assert any("broken" in event for event in expected)
    assert events(quick, results(["a", "b", "c"], fault=ValueError("broken"))) == expected


@pytest.mark.parametrize("fields", [{"n": 2}, {"logprobs": True}, {"return_token_ids": True}])
def test_what_is_not_plain_is_left_to_vllm(fields: dict[str, Any]) -> None:
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    from serve.engines.streams import plain

    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    assert plain(chat_handler(), ChatCompletionRequest(**body))
    assert not plain(chat_handler(), ChatCompletionRequest(**body, **fields))


def test_an_event_that_is_written_otherwise_is_noticed() -> None:
    from serve.engines.streams import _around

    assert _around('{"delta":{"content":"a"},"x":1}', "a") == ('{"delta":{"content":', '},"x":1}')
    with pytest.raises(ValueError, match="has no"):
        _around('{"delta": {"content": "a"}}', "a")
