import asyncio
from pathlib import Path

import pytest

from feedback.errors import EngineError, SwapFailed
from feedback.records import Message
from serve.engines.base import Token
from serve.engines.slot import Slot
from tests.serve.fakes import FakeEngine, start_fake

HERE = Path("somewhere")


def test_a_slot_is_empty_then_holds_what_was_put_once_opened() -> None:
    async def story() -> None:
        slot = Slot("a", start_fake)
        assert slot.look().state == "empty"
        with pytest.raises(EngineError, match="empty"), slot.hold():
            pass
        await slot.put(HERE, "policy-0001", 1.0)
        with pytest.raises(EngineError), slot.hold():
            pass  # probed first, opened then
        slot.open("policy-0001")
        with slot.hold() as engine:
            assert isinstance(engine, FakeEngine)
            assert (slot.look().version, slot.look().in_flight) == ("policy-0001", 1)
        assert slot.look().in_flight == 0

    asyncio.run(story())


def test_a_load_waits_for_the_requests_inside() -> None:
    async def story() -> list[str]:
        order = []
        slot = Slot("a", start_fake)
        await slot.put(HERE, "policy-0001", 1.0)
        slot.open("policy-0001")

        async def request() -> None:
            with slot.hold():
                await asyncio.sleep(0.05)
                order.append("answered")

        answering = asyncio.create_task(request())
        await asyncio.sleep(0)
        await slot.put(HERE, "policy-0002", 1.0)
        order.append("loaded")
        await answering
        return order

    assert asyncio.run(story()) == ["answered", "loaded"]


def test_a_request_that_outlasts_the_deadline_stops_the_load_and_keeps_its_slot() -> None:
    async def story() -> None:
        slot = Slot("a", start_fake)
        await slot.put(HERE, "policy-0001", 1.0)
        slot.open("policy-0001")
        with slot.hold():
            with pytest.raises(SwapFailed, match="still answers 1 requests"):
                await slot.put(HERE, "policy-0002", 0.01)
            assert (slot.state, slot.version) == ("ready", "policy-0001")

    asyncio.run(story())


def test_a_refused_load_leaves_a_slot_that_nobody_enters_and_that_may_load_again() -> None:
    async def story() -> None:
        slot = Slot("a", start_fake)
        engine = await slot.put(HERE, "policy-0001", 1.0)
        assert isinstance(engine, FakeEngine)
        slot.open("policy-0001")
        engine.fails = True
        with pytest.raises(EngineError):
            await slot.put(HERE, "policy-0002", 1.0)
        assert (slot.state, slot.version) == ("failed", "")
        engine.fails = False
        await slot.put(HERE, "policy-0001", 1.0)
        slot.open("policy-0001")
        assert slot.state == "ready"

    asyncio.run(story())


def test_clearing_ends_the_engine() -> None:
    async def story() -> None:
        slot = Slot("a", start_fake)
        engine = await slot.put(HERE, "policy-0001", 1.0)
        await slot.clear()
        assert engine.dead
        assert slot.look().state == "empty"

    asyncio.run(story())


class SlowEngine(FakeEngine):
    """Takes as long as it is told to load and to generate."""

    load_s = greedy_s = 0.0

    async def load(self, path: Path, version: str, deadline_s: float) -> None:
        await asyncio.sleep(self.load_s)
        await super().load(path, version, deadline_s)

    async def greedy(self, prompt: list[Message] | list[int], max_tokens: int) -> list[Token]:
        await asyncio.sleep(self.greedy_s)
        return await super().greedy(prompt, max_tokens)


async def slow(path: Path, version: str) -> SlowEngine:
    return SlowEngine(path, version)


async def filled() -> tuple[Slot, SlowEngine]:
    slot = Slot("a", slow)
    engine = await slot.put(HERE, "policy-0001", 1.0)
    slot.open("policy-0001")
    assert isinstance(engine, SlowEngine)
    return slot, engine


def test_a_load_that_stalls_ends_the_engine() -> None:
    async def story() -> None:
        slot, engine = await filled()
        engine.load_s = 60
        with pytest.raises(EngineError, match=r"within 0\.05 s"):
            await slot.put(HERE, "policy-0002", 1.0, 0.05)
        assert engine.dead
        assert (slot.state, slot.version, slot.fault) == ("failed", "", "load stalled")
        assert slot.take_out() is engine
        assert (slot.state, slot.fault, slot.engine) == ("empty", "", None)

    asyncio.run(story())


def test_a_load_given_up_while_it_waits_leaves_the_slot_as_it_was_and_later_it_is_failed() -> None:
    async def story() -> None:
        slot, engine = await filled()
        with slot.hold():
            loading = asyncio.create_task(slot.put(HERE, "policy-0002", 60.0))
            await asyncio.sleep(0.01)
            assert slot.changing
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            assert (slot.state, slot.version) == ("ready", "policy-0001")
        engine.load_s = 60
        loading = asyncio.create_task(slot.put(HERE, "policy-0002", 60.0))
        await asyncio.sleep(0.01)
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        assert (slot.state, slot.version) == ("failed", "")

    asyncio.run(story())


def test_a_dead_engine_lets_nobody_in() -> None:
    async def story() -> None:
        slot, engine = await filled()
        await engine.kill()
        with pytest.raises(EngineError, match="died"), slot.hold():
            pass

    asyncio.run(story())


def test_an_engine_proves_itself_by_a_token_to_the_probe_or_to_anybody() -> None:
    async def story() -> None:
        slot, engine = await filled()
        await slot.prove(1.0)
        engine.greedy_s = 60
        with pytest.raises(EngineError, match=r"nothing within 0\.1 s"):
            await slot.prove(0.1)
        proving = asyncio.create_task(slot.prove(5.0))
        await asyncio.sleep(0.02)
        engine.progress += 1
        await asyncio.wait_for(proving, 1.0)
        engine.greedy_s = 0
        engine.dead = True
        with pytest.raises(EngineError):
            await slot.prove(1.0)
        assert slot.in_flight == 0

    asyncio.run(story())


def test_a_new_engine_does_not_wait_for_requests_of_one_that_is_gone() -> None:
    async def story() -> None:
        slot, engine = await filled()
        with slot.hold():
            assert slot.take_out() is engine
            await slot.put(HERE, "policy-0002", 0.05)
            slot.open("policy-0002")
            assert slot.in_flight == 1
        assert (slot.in_flight, slot.version) == (0, "policy-0002")

    asyncio.run(story())
