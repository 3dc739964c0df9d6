"""LangChain's ChatOpenAI against the real service."""

import asyncio

import pytest
from pydantic import SecretStr

from tests.serve.clients.conftest import logged
from tests.serve.conftest import Server

pytest.importorskip("langchain_openai")
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

pytestmark = [pytest.mark.vllm, pytest.mark.redis, pytest.mark.slow]
PROMPTS = ["hello", "good morning", "good night"]


@pytest.fixture
def model(server: Server, monkeypatch: pytest.MonkeyPatch) -> ChatOpenAI:
    """The model as a user would write it down; LangChain's own telemetry is off by default and stays off."""
    monkeypatch.delenv("LANGSMITH_TRACING", raising=False)
    return ChatOpenAI(
        model="live",
        base_url=f"{server.url}/v1",
        api_key=SecretStr(server.client_key),
        temperature=0,
        max_completion_tokens=16,
        max_retries=0,
        timeout=60,
    )


def test_invoke(model: ChatOpenAI, server: Server) -> None:
    answer = model.invoke([SystemMessage("be brief"), HumanMessage("hello")])
    assert isinstance(answer, AIMessage)
    assert answer.response_metadata["finish_reason"] in ("stop", "length")
    assert answer.usage_metadata is not None
    assert 0 < answer.usage_metadata["output_tokens"] <= 16
    record = logged(server, answer.response_metadata["id"])
    assert [message.role for message in record.messages] == ["system", "user"]
    assert record.completion == answer.content


def test_stream_says_what_invoke_says(model: ChatOpenAI) -> None:
    chunks = list(model.stream("hello"))
    assert len(chunks) > 2
    assert "".join(str(chunk.content) for chunk in chunks) == model.invoke("hello").content


def test_batch_answers_in_order(model: ChatOpenAI) -> None:
    answers = [answer.content for answer in model.batch(list(PROMPTS))]
    assert answers == [model.invoke(prompt).content for prompt in PROMPTS]
    assert len(set(answers)) == len(PROMPTS)


def test_the_asynchronous_calls(model: ChatOpenAI) -> None:
    async def talk() -> tuple[list[str], str]:
        whole = await model.abatch(list(PROMPTS))
        streamed = [str(chunk.content) async for chunk in model.astream(PROMPTS[0])]
        alone = await model.ainvoke(PROMPTS[0])
        assert alone.content == whole[0].content
        return [str(answer.content) for answer in whole], "".join(streamed)

    whole, streamed = asyncio.run(talk())
    assert whole[0] == streamed
    assert whole == [model.invoke(prompt).content for prompt in PROMPTS]


def test_a_history_is_understood(model: ChatOpenAI) -> None:
    history = [HumanMessage("hello"), AIMessage("hi"), HumanMessage("who are you?")]
    assert model.invoke(history).content == model.invoke(list(history)).content
    assert model.invoke(history).content != model.invoke(history[-1:]).content
