import asyncio
from pathlib import Path

import pytest

from feedback.errors import EngineError, SwapFailed
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
