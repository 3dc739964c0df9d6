"""When an engine counts as hanging, and what becomes of it."""

import asyncio
from pathlib import Path

from feedback.errors import EngineError
from feedback.records import Message
from serve.engines.base import Token
from serve.engines.slot import Slot
from serve.swapping.watchdog import IDLE_S, Pulse, Watchdog
from tests.serve.fakes import FakeEngine

STALL_S = 30.0


class HangingEngine(FakeEngine):
    """Gives nothing while told to hang."""

    hangs = False

    async def greedy(self, prompt: list[Message] | list[int], max_tokens: int) -> list[Token]:
        while self.hangs and not self.dead:
            await asyncio.sleep(0.005)
        self.progress += 1
        return await super().greedy(prompt, max_tokens)


async def start(path: Path, version: str) -> HangingEngine:
    return HangingEngine(path, version)


def verdicts(pulse: Pulse, seconds: range, *, busy: bool, progress: int | None = None) -> list[str]:
    """Return what the pulse says at each second; ``progress`` grows by it, or stands still."""
    step = progress or 0
    return [pulse.look(float(now), pulse.progress + step, busy, STALL_S) for now in seconds]


def test_an_engine_that_gives_is_well_however_busy() -> None:
    assert set(verdicts(Pulse(0, 0.0, 0.0), range(600), busy=True, progress=3)) == {"well"}


def test_a_busy_engine_that_gives_nothing_is_asked_and_then_hangs() -> None:
    said = verdicts(Pulse(5, 0.0, 0.0), range(1, 32), busy=True)
    assert said.index("ask") + 1 == STALL_S / 2
    assert said.index("hangs") + 1 == STALL_S
    assert said.count("ask") == 1


def test_a_token_after_the_question_makes_it_well_again() -> None:
    pulse = Pulse(5, 0.0, 0.0)
    assert "ask" in verdicts(pulse, range(1, 20), busy=True)
    assert pulse.look(20.0, 6, True, STALL_S) == "well"
    assert set(verdicts(pulse, range(21, 34), busy=True)) == {"well"}


def test_an_idle_engine_is_asked_every_half_minute_and_only_then_may_hang() -> None:
    said = verdicts(Pulse(5, 0.0, 0.0), range(1, 60), busy=False)
    assert said.index("ask") + 1 == IDLE_S
    assert said.index("hangs") + 1 == IDLE_S + STALL_S / 2


def test_time_in_which_this_process_did_not_run_is_nobodys_fault() -> None:
    pulse = Pulse(5, 0.0, 0.0)
    verdicts(pulse, range(1, 10), busy=True)
    assert pulse.look(3600.0, 5, True, STALL_S) == "ask"
    assert pulse.look(3601.0, 5, True, STALL_S) == "well"
    assert pulse.look(7200.0, 6, True, STALL_S) == "well"


async def filled() -> tuple[Slot, HangingEngine]:
    slot = Slot("a", start)
    engine = await slot.put(Path("x"), "policy-0001", 1.0)
    slot.open("policy-0001")
    assert isinstance(engine, HangingEngine)
    return slot, engine


def test_a_hanging_engine_is_killed_and_nobody_enters_its_slot_any_more() -> None:
    async def story() -> None:
        slot, engine = await filled()
        watchdog = Watchdog([slot], stall_s=0.4)
        watching = asyncio.create_task(watchdog.run())
        with slot.hold():
            engine.hangs = True
            async with asyncio.timeout(5):
                while not engine.dead:
                    await asyncio.sleep(0.01)
        assert (slot.state, slot.fault) == ("failed", "stalled")
        try:
            slot.hold().__enter__()
            raise AssertionError("somebody entered")
        except EngineError:
            pass
        assert not watchdog.stuck
        await asyncio.sleep(1.2)  # nobody takes the engine out, so this process is beyond help
        assert watchdog.stuck
        slot.take_out()
        await watchdog.look()
        assert not watchdog.stuck
        watching.cancel()

    asyncio.run(story())


def test_a_slow_reader_is_no_fault_of_the_engine() -> None:
    async def story() -> None:
        slot, engine = await filled()
        watching = asyncio.create_task(Watchdog([slot], stall_s=0.2).run())
        with slot.hold():  # somebody who takes nothing, so nothing moves but for the watchdog's own question
            await asyncio.sleep(1.0)
        assert not engine.dead
        assert engine.progress >= 2
        watching.cancel()

    asyncio.run(story())
