"""OpenAI's own Python client against the real service: what it sends is understood, what it expects comes back."""

import asyncio
from collections.abc import Iterator

import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.serve.clients.conftest import logged, whole_characters
from tests.serve.conftest import Server

pytestmark = [pytest.mark.vllm, pytest.mark.redis, pytest.mark.slow]
SECONDS = 60.0
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]


@pytest.fixture
def real(server: Server) -> Iterator[OpenAI]:
    """The client, talking to the real engine."""
    with OpenAI(base_url=f"{server.url}/v1", api_key=server.client_key, max_retries=0, timeout=SECONDS) as found:
        yield found


def test_a_chat(real: OpenAI, server: Server) -> None:
    answer = real.chat.completions.create(model="live", messages=HELLO, temperature=0, max_tokens=12)
    assert answer.object == "chat.completion"
    assert answer.choices[0].finish_reason in ("length", "stop")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens <= 12
    reference = server.references[answer.model]
    expected = reference.tokenizer.decode(reference.chat("hello", 12), skip_special_tokens=True)
    assert whole_characters(answer.choices[0].message.content or "") == whole_characters(expected)


def test_a_streamed_chat_says_what_a_whole_one_says(real: OpenAI) -> None:
    whole = real.chat.completions.create(model="live", messages=HELLO, temperature=0, max_tokens=24)
    chunks = list(
        real.chat.completions.create(
            model="live",
            messages=HELLO,
            temperature=0,
            max_tokens=24,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {whole.model}


def test_the_streaming_helper_gathers_the_answer(real: OpenAI) -> None:
    whole = real.chat.completions.create(model="live", messages=HELLO, temperature=0, max_tokens=24)
    said = whole.choices[0].message.content or ""
    stop = said[8]  # the helper refuses answers that were cut for their length
    with real.chat.completions.stream(model="live", messages=HELLO, temperature=0, max_tokens=24, stop=stop) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert final.choices[0].message.content == said[: said.index(stop)]
    assert {"chunk", "content.done"} <= kinds


def test_headers_tell_version_and_request(real: OpenAI, server: Server) -> None:
    raw = real.chat.completions.with_raw_response.create(model="live", messages=HELLO, max_tokens=4)
    answer = raw.parse()
    assert raw.headers["x-policy-version"] == answer.model
    assert raw.headers["x-request-id"] == raw.request_id == answer.id == answer._request_id
    assert logged(server, answer.id).policy_version == answer.model


def test_several_choices_with_a_seed_come_again(real: OpenAI) -> None:
    one, two = (
        real.chat.completions.create(model="live", messages=HELLO, n=3, seed=7, temperature=1.0, max_tokens=8)
        for _ in range(2)
    )
    assert [choice.index for choice in one.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in one.choices}) > 1
    assert [each.message.content for each in one.choices] == [each.message.content for each in two.choices]


def test_logprobs_of_a_chat(real: OpenAI) -> None:
    answer = real.chat.completions.create(
        model="live", messages=HELLO, temperature=0, max_tokens=5, logprobs=True, top_logprobs=3
    )
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.content is not None
    assert answer.usage is not None
    assert len(found.content) == answer.usage.completion_tokens
    for token in found.content:
        assert token.logprob == max(each.logprob for each in token.top_logprobs) <= 0
        assert len(token.top_logprobs) == 3


def test_a_stop_ends_the_answer_before_it(real: OpenAI) -> None:
    whole = real.chat.completions.create(model="live", messages=HELLO, temperature=0, max_tokens=24)
    said = whole.choices[0].message.content or ""
    stop = said[5]
    answer = real.chat.completions.create(model="live", messages=HELLO, temperature=0, max_tokens=24, stop=stop)
    assert answer.choices[0].message.content == said[: said.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_a_batch_of_text_prompts(real: OpenAI) -> None:
    prompts = ["once upon", "there was", "the end"]
    answer = real.completions.create(model="live", prompt=prompts, temperature=0, max_tokens=6, logprobs=1)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    for prompt, choice in zip(prompts, answer.choices, strict=True):
        alone = real.completions.create(model="live", prompt=prompt, temperature=0, max_tokens=6)
        assert choice.text == alone.choices[0].text
        assert choice.logprobs is not None
        assert choice.logprobs.tokens


def test_a_streamed_text_completion(real: OpenAI) -> None:
    whole = real.completions.create(model="live", prompt="once upon", temperature=0, max_tokens=16)
    chunks = real.completions.create(model="live", prompt="once upon", temperature=0, max_tokens=16, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text


def test_what_can_be_asked_for_is_listed(real: OpenAI) -> None:
    names = [model.id for model in real.models.list()]
    assert "live" in names
    answer = real.chat.completions.create(model=names[-1], messages=HELLO, max_tokens=2)
    assert answer.choices[0].message.role == "assistant"


def test_leaving_a_stream_early_harms_nobody(real: OpenAI) -> None:
    with real.chat.completions.create(model="live", messages=HELLO, max_tokens=64, stream=True) as stream:
        next(iter(stream))
    assert real.chat.completions.create(model="live", messages=HELLO, max_tokens=2).usage is not None


def test_the_asynchronous_client_streams_and_answers(server: Server) -> None:
    async def talk() -> tuple[list[str | None], str]:
        key = server.client_key
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=SECONDS) as found:
            ask = found.chat.completions.create
            whole = await asyncio.gather(
                *(ask(model="live", messages=HELLO, temperature=0, max_tokens=20) for _ in range(4))
            )
            text = ""
            async for chunk in await ask(model="live", messages=HELLO, temperature=0, max_tokens=20, stream=True):
                text += chunk.choices[0].delta.content or ""
            return [each.choices[0].message.content for each in whole], text

    whole, streamed = asyncio.run(talk())
    assert set(whole) == {streamed}
