"""What hot swapping with one slot decides, and how callers wait for it (a real engine: `test_single_slot`)."""

import asyncio
from collections.abc import Callable

import pytest

from feedback.errors import Overloaded
from serve.swapping.traffic import Traffic
from tests.serve.rig import A, B, C, Rig

pytestmark = pytest.mark.redis


@pytest.mark.parametrize("fault", ["files_bad", "load_fails", "probe_fails"])
def test_one_slot_gets_its_old_weights_back_and_callers_wait_meanwhile(rig: Callable[[int], Rig], fault: str) -> None:
    async def story() -> None:
        one = rig(1)
        getattr(one, fault).add(B)
        await one.promote(A)
        async with one.running():
            await one.live(A)
            versions, done = set(), asyncio.Event()

            async def caller() -> None:
                while not done.is_set():
                    slot = await one.traffic.enter("live", "me")
                    with slot.hold():
                        versions.add(slot.version)
                        await asyncio.sleep(0.002)

            callers = [asyncio.create_task(caller()) for _ in range(8)]
            await one.promote(B)
            failed = await one.event(B, "failed")
            assert failed.previous == A
            await one.live(A)
            getattr(one, fault).clear()
            await one.promote(C)
            await one.live(C)
            await asyncio.sleep(0.05)
            done.set()
            await asyncio.gather(*callers)
            assert versions == {A, C}
            assert len(one.engines) == 1

    asyncio.run(story())


def test_one_slot_defers_a_swap_that_its_callers_hold_up_and_does_it_later(rig: Callable[[int], Rig]) -> None:
    async def story() -> None:
        one = rig(1)
        await one.promote(A)
        async with one.running():
            await one.live(A)
            with one.slots[0].hold():
                await one.promote(B)
                assert (await one.event(B, "deferred")).previous == A
                assert (await one.traffic.enter("live", "me")).version == A
            await one.live(B)
            states = [event.state for event in one.events(B)]
            assert states[:2] == ["pending", "deferred"]
            await one.event(B, "live")

    asyncio.run(story())


def test_at_the_gate_callers_wait_only_so_long(rig: Callable[[int], Rig]) -> None:
    async def story() -> None:
        traffic = Traffic([], gate_wait_s=0.1)
        with traffic.shut():
            assert traffic.answering
            with pytest.raises(Overloaded) as caught:
                await traffic.enter("live", "me")
            assert caught.value.retry_after_s > 0
            assert not traffic.answering

    asyncio.run(story())


def test_after_a_refusal_a_dead_engine_comes_back_with_what_answered_last(rig: Callable[[int], Rig]) -> None:
    async def story() -> None:
        one = rig(1)
        one.files_bad = {C}
        await one.promote(A)
        async with one.running():
            await one.live(A)
            await one.promote(C)
            await one.event(C, "failed")
            one.engines[0].dead = True
            await one.until(lambda: len(one.engines) == 2 and one.traffic.answering)
            assert one.traffic.live_version == A

    asyncio.run(story())
