"""The door: who enters, who waits, who is refused, and in which order."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest

from feedback.errors import DeadlinePassed, Overloaded, RateLimited, ServingError
from serve.door.admission import Admission, Wanted


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def wanted(
    owner: str = "ada", places: int = 1, tokens: int = 10, wait_s: float = 60, *, background: bool = False
) -> Wanted:
    import time

    return Wanted(owner=owner, places=places, tokens=tokens, deadline=time.monotonic() + wait_s, background=background)


async def held(door: Admission, *requests: Wanted) -> AsyncExitStack:
    """Enter with all of them at once; all must get in without waiting."""
    stack = AsyncExitStack()
    for request in requests:
        await asyncio.wait_for(stack.enter_async_context(door.enter(request)), 1)
    return stack


def queue(door: Admission, request: Wanted, order: list[str], name: str) -> "asyncio.Task[None]":
    """Start a request that has to wait; it notes its name when its turn comes and leaves at once."""

    async def ask() -> None:
        async with door.enter(request):
            order.append(name)

    return asyncio.create_task(ask())


def test_places_are_given_until_they_are_taken_then_the_next_one_waits_for_its_turn() -> None:
    async def test() -> None:
        door, order = Admission(2, 2, 1000), list[str]()
        stack = await held(door, wanted("ada"), wanted("bob"))
        waiting = queue(door, wanted("cleo"), order, "cleo")
        await asyncio.sleep(0.01)
        assert order == []
        assert door.in_flight == 3
        await stack.aclose()
        await waiting
        assert order == ["cleo"]
        assert door.in_flight == 0

    run(test())


def test_a_full_house_refuses_at_once_and_says_when_to_come_back() -> None:
    async def test() -> None:
        door = Admission(2, 1, 1000)
        stack = await held(door, wanted("ada"), wanted("bob"))
        waiting = queue(door, wanted("cleo"), [], "cleo")
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="all places") as refused:
            await held(door, wanted("dan"))
        assert refused.value.retry_after_s >= 1
        await stack.aclose()
        await waiting

    run(test())


def test_one_key_may_fill_what_is_free_but_never_the_room_of_others() -> None:
    async def test() -> None:
        door, order = Admission(4, 4, 1000), list[str]()
        stack = await held(door, *[wanted("flood")] * 4)
        tasks = [queue(door, wanted("flood"), order, "flood")]
        await asyncio.sleep(0)
        for _ in range(20):
            with pytest.raises(RateLimited, match="kept for others"):
                await held(door, wanted("flood"))
        tasks.append(queue(door, wanted("quiet"), order, "quiet"))
        await asyncio.sleep(0)
        assert door.in_flight == 6
        await stack.aclose()
        await asyncio.gather(*tasks)
        assert sorted(order) == ["flood", "quiet"]

    run(test())


def test_several_floods_leave_room_for_one_more() -> None:
    async def test() -> None:
        door, order = Admission(6, 6, 1000), list[str]()
        stack = await held(door, wanted("a", 3), wanted("b", 3))
        tasks = [queue(door, wanted(name), order, name) for name in ("a", "b")]
        await asyncio.sleep(0)
        for owner in ("a", "b"):
            with pytest.raises(RateLimited):
                await held(door, wanted(owner))
        tasks.append(queue(door, wanted("quiet", 3), order, "quiet"))
        await asyncio.sleep(0)
        assert door.in_flight == 11
        await stack.aclose()
        await asyncio.gather(*tasks)
        assert sorted(order) == ["a", "b", "quiet"]

    run(test())


def test_who_holds_least_comes_first() -> None:
    async def test() -> None:
        door, order = Admission(4, 12, 1000), list[str]()
        loud, other = await held(door, wanted("loud", 1)), await held(door, wanted("other", 3))
        tasks = [
            queue(door, wanted("loud", 3), order, "loud"),
            queue(door, wanted("quiet", 3), order, "quiet"),
        ]
        await asyncio.sleep(0)
        await other.aclose()
        await asyncio.gather(*tasks)
        assert order == ["quiet", "loud"]
        await loud.aclose()

    run(test())


def test_those_who_hold_as_much_come_by_age() -> None:
    async def test() -> None:
        door, order = Admission(2, 8, 1000), list[str]()
        stack = await held(door, wanted("ada", 2))
        tasks = [queue(door, wanted(name), order, name) for name in ("bob", "cleo", "dan")]
        await asyncio.sleep(0)
        await stack.aclose()
        await asyncio.gather(*tasks)
        assert order == ["bob", "cleo", "dan"]

    run(test())


def test_background_work_leaves_a_quarter_to_others() -> None:
    async def test() -> None:
        door = Admission(4, 4, 1000)
        stack = await held(door, wanted("sampler", 3, background=True))
        with pytest.raises(Overloaded, match="background"):
            await held(door, wanted("sampler", background=True))
        await (await held(door, wanted("ada", 1))).aclose()
        await stack.aclose()

    run(test())


def test_a_request_that_cannot_be_in_time_is_refused_at_the_door() -> None:
    async def test() -> None:
        clock = [0.0]
        door = Admission(1, 10, 1000, now=lambda: clock[0])
        for _ in range(10):  # one place takes ten seconds
            async with door.enter(Wanted(owner="ada", places=1, tokens=1, deadline=clock[0] + 99)):
                clock[0] += 10
        stack = await held(door, Wanted(owner="ada", places=1, tokens=1, deadline=clock[0] + 99))
        with pytest.raises(Overloaded, match="beyond the deadline") as refused:
            await held(door, Wanted(owner="bob", places=1, tokens=1, deadline=clock[0] + 5))
        assert 5 < refused.value.retry_after_s < 15
        await stack.aclose()

    run(test())


def test_a_deadline_that_passes_while_waiting_gives_the_place_in_the_queue_back() -> None:
    async def test() -> None:
        door = Admission(1, 1, 1000)
        stack = await held(door, wanted("ada"))
        with pytest.raises(DeadlinePassed):
            async with door.enter(wanted("bob", wait_s=0.02)):
                pass
        assert door.in_flight == 1
        await stack.aclose()
        assert door.in_flight == 0

    run(test())


def test_one_who_leaves_while_waiting_leaves_no_trace() -> None:
    async def test() -> None:
        door, order = Admission(1, 2, 1000), list[str]()
        stack = await held(door, wanted("ada"))
        gone = queue(door, wanted("bob"), order, "bob")
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert door.in_flight == 1
        await stack.aclose()
        await (await held(door, wanted("cleo"))).aclose()
        assert order == []

    run(test())


def test_tokens_are_a_budget_too_and_a_request_beyond_all_of_it_still_gets_its_turn() -> None:
    async def test() -> None:
        door, order = Admission(8, 8, 100), list[str]()
        stack = await held(door, wanted("ada", tokens=60))
        waiting = queue(door, wanted("bob", tokens=1_000_000), order, "bob")
        await asyncio.sleep(0.01)
        assert order == []
        await stack.aclose()
        await waiting
        assert order == ["bob"]

    run(test())


def test_more_places_than_there_are_count_as_all_of_them() -> None:
    async def test() -> None:
        door = Admission(4, 4, 1000)
        stack = await held(door, wanted("ada", places=9))
        assert door.in_flight == 4
        await stack.aclose()
        assert door.in_flight == 0

    run(test())


def test_places_can_be_given_back_before_the_last_bytes_leave() -> None:
    async def test() -> None:
        door = Admission(1, 0, 1000)
        async with door.enter(wanted("ada")) as ticket:
            ticket.leave()
            await (await held(door, wanted("ada"))).aclose()
            assert door.in_flight == 0
        assert door.in_flight == 0

    run(test())


def test_draining_admits_nobody_and_lets_those_inside_finish() -> None:
    async def test() -> None:
        door = Admission(4, 4, 1000)
        stack = await held(door, wanted("ada"))
        door.draining = True
        with pytest.raises(Overloaded, match="shutting down"):
            await held(door, wanted("bob"))
        await stack.aclose()
        assert door.in_flight == 0

    run(test())


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_nothing_is_left_behind_and_the_bounds_hold(seed: int) -> None:
    import random

    chance = random.Random(seed)

    async def test() -> None:
        door = Admission(5, 5, 200)
        running = 0
        served = 0

        async def ask() -> None:
            nonlocal running, served
            places = chance.randint(1, 3)
            request = wanted(
                chance.choice("abc"), places, chance.randint(1, 90), chance.choice([0.001, 5]),
                background=chance.random() < 0.2,
            )  # fmt: skip
            try:
                async with door.enter(request):
                    running += places
                    try:
                        assert running <= 5
                        assert door.in_flight <= 10
                        await asyncio.sleep(chance.random() * 0.003)
                        served += 1
                    finally:
                        running -= places
            except ServingError:
                pass

        for _ in range(40):
            tasks = [asyncio.create_task(ask()) for _ in range(8)]
            await asyncio.sleep(0.001)
            for task in tasks:
                if chance.random() < 0.1:
                    task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            cancelled = [each for each in results if isinstance(each, BaseException)]
            assert all(isinstance(each, asyncio.CancelledError) for each in cancelled)
            assert (running, door.in_flight) == (0, 0)
        assert served > 40

    run(test())
