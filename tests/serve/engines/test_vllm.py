"""The adapter on a real engine, against transformers, with untied embeddings (the serving tests use tied ones)."""

import asyncio
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from feedback.errors import EngineError
from feedback.records import Message
from serve.engines.base import TRANSCRIPTS, Engine, Transcript
from serve.settings import ServeSettings
from tests.serve.conftest import Reference, make_policy, spoil

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
PROMPT = [7, 8, 9, 10, 11]
LONG = list(range(6, 206))
"""Longer than a block, so that the prefix cache holds some of it."""


def truncate(path: Path) -> None:
    """Cut a file in the middle."""
    os.truncate(path, path.stat().st_size // 2)


def same(engine: Engine, reference: Reference) -> list[bool]:
    """Tell for each prompt whether the engine's greedy tokens and log-probabilities are the reference's."""

    async def compare(prompt: list[int]) -> bool:
        found = await engine.greedy(prompt, 24)
        ids, logprobs = reference.greedy(prompt, 24)
        close = all(abs(token.logprob - wanted) < 2e-3 for token, wanted in zip(found, logprobs, strict=True))
        return close and [token.id for token in found] == ids

    async def all_of_them() -> list[bool]:
        return [await compare(prompt) for prompt in (PROMPT, LONG)]

    return asyncio.get_event_loop().run_until_complete(all_of_them())


def test_an_untied_engine_reloads_exactly_and_says_when_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vllm")
    from serve.engines.vllm import VllmEngine

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    first, second = (make_policy(tmp_path / str(seed), seed, tied=False) for seed in (1, 2))
    settings = ServeSettings.load(kv_cache_gib=0.1)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    engine = loop.run_until_complete(VllmEngine.start(settings, first, "policy-0001"))
    try:
        assert same(engine, Reference(first)) == [True, True]
        for path, version in ((second, "policy-0002"), (first, "policy-0003"), (second, "policy-0004")):
            loop.run_until_complete(engine.load(path, version, 5.0))
            assert same(engine, Reference(path)) == [True, True]
        turns = [Message(role="user", content="hello")]
        transcript = Transcript()
        TRANSCRIPTS.set([transcript])
        chat = [token.id for token in loop.run_until_complete(engine.greedy(turns, 16))]
        assert transcript.versions == {"policy-0004"}
        assert transcript.completion_tokens == transcript.sampled_tokens == len(chat)
        heard = engine.progress
        loop.run_until_complete(engine.greedy(turns, 1))
        assert engine.progress > heard  # what the watchdog lives on
        assert chat == Reference(second).chat("hello", 16)
        with pytest.raises(EngineError, match="did not load"):
            loop.run_until_complete(engine.load(tmp_path / "nowhere", "policy-0005", 5.0))
        torn = spoil(second, tmp_path / "torn", lambda path: truncate(path / "model.safetensors"), sealed=False)
        with pytest.raises(EngineError, match="did not load"):  # cut after its sums were checked, say
            loop.run_until_complete(engine.load(torn, "policy-0006", 5.0))
        loop.run_until_complete(engine.load(first, "policy-0001", 5.0))
        assert same(engine, Reference(first)) == [True, True]
        assert any(metric.name == "vllm:generation_tokens" for metric in engine.metrics())
        for core in multiprocessing.active_children():
            assert core.pid is not None
            os.kill(core.pid, signal.SIGSTOP)
        answering = [loop.create_task(engine.greedy(PROMPT, 24)) for _ in range(4)]
        loading = loop.create_task(engine.load(second, "policy-0007", 60.0))
        loop.run_until_complete(asyncio.sleep(0.2))
        loop.run_until_complete(engine.kill())
        loop.run_until_complete(engine.close())  # as soon as it is found dead, maybe before vLLM noticed
        both = asyncio.gather(*answering, loading, return_exceptions=True)
        ended = loop.run_until_complete(asyncio.wait_for(both, 5))
        assert {type(end) for end in ended} == {EngineError}
        assert engine.dead
    finally:
        loop.run_until_complete(engine.close())
        asyncio.set_event_loop(None)
        loop.close()
    assert engine.dead
