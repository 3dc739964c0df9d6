"""What hot swapping with several slots decides (real engines: `test_hotswap`)."""

import asyncio
import time
from collections.abc import Callable

import pytest

from feedback import canary, metrics, promotion
from feedback.client import Ledger
from feedback.errors import EngineError
from serve.swapping.registry import Registry
from tests.serve.rig import A, B, C, D, Rig

pytestmark = pytest.mark.redis


def test_a_rollback_to_a_warm_slot_is_done_within_a_tenth_of_a_second(rig: Callable[[int], Rig]) -> None:
    async def story() -> None:
        two = rig(2)
        two.settings = two.settings.model_copy(update={"poll_s": 5.0})  # so that polling alone would be too late
        await two.promote(A)
        async with two.running():
            await two.live(A)
            await two.promote(B)
            await two.live(B)
            took = []
            for wanted in [A, B] * 5:
                await asyncio.sleep(0.02)
                started = time.monotonic()
                await asyncio.to_thread(promotion.roll_back, two.ledger, "olga")
                await two.live(wanted)
                took.append(time.monotonic() - started)
            assert max(took) < 0.1, took
            assert len(two.engines) == 2
            await two.until(lambda: len([e for e in two.events(A) if e.state == "live"]) == 6)
            assert two.events(A)[-1].load_s == 0

    asyncio.run(story())


def test_without_the_audits_stream_the_poll_still_sees_the_move(
    rig: Callable[[int], Rig], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(self: Registry, within_s: float) -> None:
        self._closing.wait(within_s)  # what a wait does whose XREAD is cut

    async def story() -> None:
        monkeypatch.setattr(Registry, "_wait", deaf)
        two = rig(2)
        await two.promote(A)
        async with two.running():
            await two.live(A)
            await two.promote(B)
            await two.live(B)

    asyncio.run(story())


def test_two_slots_keep_the_canary_rather_than_previous(rig: Callable[[int], Rig]) -> None:
    async def story() -> None:
        two = rig(2)
        await two.promote(A)
        await two.promote(B)
        async with two.running():
            await two.held(B, A)
            await asyncio.to_thread(canary.begin, two.ledger, C, 0, "olga")
            await two.held(B, C)
            assert two.traffic.choose("candidate").version == C
            assert (await two.traffic.enter("live", "anybody")).version == B
            await asyncio.to_thread(canary.begin, two.ledger, C, 100, "olga")
            await two.until(lambda: two.traffic.trial is not None and two.traffic.trial.takes("anybody"))
            assert (await two.traffic.enter("live", "anybody")).version == C
            assert (await two.traffic.enter(B, "anybody")).version == B
            await asyncio.to_thread(canary.end, two.ledger, "olga")
            await two.held(B, A)
            assert (await two.traffic.enter("live", "anybody")).version == B
            assert (await two.event(C, "staged")).load_s > 0

    asyncio.run(story())


def test_three_slots_keep_live_previous_and_candidate_and_promoting_it_loads_nothing(
    rig: Callable[[int], Rig],
) -> None:
    async def story() -> None:
        three = rig(3)
        await three.promote(A)
        await three.promote(B)
        async with three.running():
            await three.held(A, B, D)  # D was registered last, so it is the candidate
            loads = sum(len(engine.loads) for engine in three.engines)
            await three.promote("candidate")
            await three.live(D)
            assert sum(len(engine.loads) for engine in three.engines) == loads
            assert (await three.event(D, "live")).load_s == 0
            assert [event.state for event in three.events(D)] == ["staged", "live"]

    asyncio.run(story())


def test_a_refused_canary_ends_in_the_ledger_and_previous_comes_back(rig: Callable[[int], Rig]) -> None:
    async def story() -> None:
        two = rig(2)
        two.files_bad = {C}
        await two.promote(A)
        await two.promote(B)
        async with two.running():
            await two.held(B, A)
            await asyncio.to_thread(canary.begin, two.ledger, C, 50, "olga")
            await two.until(lambda: canary.running(two.ledger) is None)
            await two.held(B, A)
            last = list(promotion.audit(two.ledger))[-1]
            assert (last.actor, last.action) == ("guard", "end canary")
            assert "is bad" in last.reason

    asyncio.run(story())


def test_a_canary_that_errs_gets_nobody_at_once_and_ends_in_the_audit(rig: Callable[[int], Rig]) -> None:
    async def story() -> None:
        two = rig(2)
        before = metrics.REGISTRY.get_sample_value("whetstone_canary_breaches_total") or 0
        await two.promote(A)
        async with two.running():
            await two.live(A)
            await asyncio.to_thread(canary.begin, two.ledger, C, 100, "olga")
            await two.held(A, C)
            for _ in range(30):
                two.traffic.outcome(A, True, False, 0.1)
            asked = 0
            while (await two.traffic.enter("live", "me")).version == C:
                two.traffic.outcome(C, asked % 2 == 0, asked % 2 == 1, 0.1)  # fails or is empty
                asked += 1
                assert asked < 50
            await two.until(lambda: canary.running(two.ledger) is None)
            last = list(promotion.audit(two.ledger))[-1]
            assert (last.actor, last.action, last.before) == ("guard", "end canary", f"{C} at 100 %")
            assert metrics.REGISTRY.get_sample_value("whetstone_canary_breaches_total") == before + 1

    asyncio.run(story())


@pytest.mark.parametrize("slots", [1, 2])
def test_when_the_live_engine_dies_live_is_loaded_elsewhere_or_started_anew(
    rig: Callable[[int], Rig], slots: int
) -> None:
    async def story() -> None:
        found = rig(slots)
        await found.promote(B)
        await found.promote(A)
        async with found.running():
            await found.held(*[A, B][:slots])
            slot = found.traffic.live_slot
            assert slot is not None
            count = "whetstone_engine_restarts_total"
            labels = {"slot": slot.name, "reason": "died"}
            before = metrics.REGISTRY.get_sample_value(count, labels) or 0
            dead = found.engines[0]
            dead.dead = True
            with pytest.raises(EngineError):
                slot.hold().__enter__()
            assert not found.traffic.answering
            await found.until(lambda: found.traffic.answering)
            assert found.traffic.live_version == A
            if slots == 2:
                assert found.traffic.live_slot is not slot
                assert found.engines[1].loads == [A]
            await found.held(*[A, B][:slots])
            assert len(found.engines) == slots + 1
            assert metrics.REGISTRY.get_sample_value(count, labels) == before + 1

    asyncio.run(story())


def test_a_process_that_starts_on_a_refused_live_answers_with_previous(rig: Callable[[int], Rig]) -> None:
    async def story() -> None:
        two = rig(2)
        two.files_bad = {B}
        await two.promote(A)
        await two.promote(B)
        async with two.running():
            await two.live(A)
            await two.event(B, "failed")

    asyncio.run(story())


def test_an_engine_that_fails_a_version_is_tried_a_few_times_and_an_idle_one_is_never_lost(
    rig: Callable[[int], Rig],
) -> None:
    async def story() -> None:
        two = rig(2)
        await two.promote(A)
        async with two.running():
            await two.live(A)
            await two.until(lambda: len(two.engines) == 2)
            two.load_fails = {B}
            await two.promote(B)
            await two.until(lambda: [e.state for e in two.events(B)].count("failed") == 3)
            await asyncio.sleep(0.6)
            assert [e.state for e in two.events(B)].count("failed") == 3
            assert two.traffic.live_version == A
            two.load_fails = set()
            await two.promote(C)
            await two.live(C)

    asyncio.run(story())


def test_answering_goes_on_and_engines_come_back_while_the_ledger_is_down(
    rig: Callable[[int], Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        two = rig(2)
        await two.promote(A)
        async with two.running():
            await two.live(A)

            async def nothing(self: Registry) -> None:
                return None

            monkeypatch.setattr(Registry, "look", nothing)
            two.engines[0].dead = True
            await two.until(lambda: not two.traffic.answering)
            await two.until(lambda: two.traffic.answering)
            assert two.traffic.live_version == A

    asyncio.run(story())
