"""From drafts and transcripts to records."""

import asyncio
from typing import Any

import pytest

from feedback.records import ApiKey, Interaction, utc_now
from serve.answering.exchange import Exchange, drafts
from serve.asking.limits import check
from serve.settings import ServeSettings

KEY = ApiKey(id="key_a", role="client", owner="ada", secret_sha256="x", created_at=utc_now())


class Notebook:
    """Takes what a recorder takes."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.kept: list[Interaction] = []
        self.forgotten: list[str] = []

    def begin(self, draft: Interaction) -> None:
        self.begun.append(draft.id)

    def forget(self, id: str) -> None:
        self.forgotten.append(id)

    def finish(self, interaction: Interaction) -> "asyncio.Future[bool]":
        self.kept.append(interaction)
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, done.set_result, True)
        return done


def exchange(body: bytes, *, recorded: bool = True) -> tuple[Exchange, Notebook]:
    notebook: Any = Notebook()
    asked = check(body, "text", ServeSettings.load())
    return Exchange(notebook, drafts(asked, KEY, "cmpl-1", "policy-0007"), recorded=recorded), notebook


def speak(of: Exchange, *texts: str, version: str = "policy-0007") -> None:
    for said, text in zip(of.transcripts, texts, strict=True):
        said.text, said.finish_reason = text, "stop"
        said.prompt_tokens, said.completion_tokens, said.sampled_tokens = 3, 2, 4
        said.versions.add(version)


def test_each_prompt_of_a_batch_becomes_a_record_of_its_own_once_they_are_on_disk() -> None:
    async def test() -> None:
        found, notebook = exchange(b'{"model": "live", "prompt": ["one", "two"], "temperature": 0.5}')
        assert notebook.begun == ["cmpl-1", "cmpl-1-1"]
        speak(found, "eins", "zwei")
        before = asyncio.get_running_loop().time()
        await found.record()
        assert asyncio.get_running_loop().time() - before >= 0.009
        await found.record()
        assert [(each.id, each.messages[0].content, each.completion) for each in notebook.kept] == [
            ("cmpl-1", "one", "eins"),
            ("cmpl-1-1", "two", "zwei"),
        ]
        assert notebook.kept[0].sampling == {"temperature": 0.5}
        assert found.tokens == 14
        assert not found.empty

    asyncio.run(test())


def test_what_must_not_be_kept_is_not_even_begun() -> None:
    async def test() -> None:
        found, notebook = exchange(b'{"model": "live", "prompt": "one"}', recorded=False)
        speak(found, "eins")
        await found.record()
        assert (notebook.begun, notebook.kept, notebook.forgotten) == ([], [], [])
        assert found.tokens == 7

    asyncio.run(test())


def test_token_ids_are_answered_and_not_recorded() -> None:
    async def test() -> None:
        found, notebook = exchange(b'{"model": "live", "prompt": [1, 2]}')
        speak(found, "eins")
        await found.record()
        assert notebook.kept == []

    asyncio.run(test())


@pytest.mark.parametrize("why", ["error", "silence", "mixed"])
def test_an_answer_that_came_to_nothing_is_forgotten(why: str) -> None:
    async def test() -> None:
        found, notebook = exchange(b'{"model": "live", "prompt": "one"}')
        if why != "silence":
            speak(found, "eins", version="policy-0008" if why == "mixed" else "policy-0007")
        found.write(usable=why != "error")
        assert (notebook.kept, notebook.forgotten) == ([], ["cmpl-1"])

    asyncio.run(test())


def test_an_answer_that_broke_off_says_so() -> None:
    async def test() -> None:
        found, notebook = exchange(b'{"model": "live", "prompt": "one"}')
        found.transcripts[0].text, found.transcripts[0].completion_tokens = "ei", 1
        assert len(found.write()) == 1
        assert notebook.kept[0].finish_reason == "aborted"
        assert exchange(b'{"model": "live", "prompt": "one"}')[0].empty

    asyncio.run(test())
