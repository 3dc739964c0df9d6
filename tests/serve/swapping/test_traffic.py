import asyncio
from pathlib import Path

import pytest

from feedback import metrics
from feedback.errors import EngineError, UnknownModel
from feedback.records import Canary, utc_now
from serve.engines.slot import Slot
from serve.swapping.traffic import Traffic
from tests.serve.fakes import start_fake


def two_slots(first: str = "policy-0001", second: str = "policy-0002") -> tuple[Traffic, Slot, Slot]:
    """Return traffic over two open slots, nobody live."""
    slots = (Slot("a", start_fake), Slot("b", start_fake))

    async def fill() -> None:
        for slot, version in zip(slots, (first, second), strict=True):
            await slot.put(Path("x"), version, 1.0)
            slot.open(version)

    asyncio.run(fill())
    return Traffic(slots), *slots


def test_live_is_whoever_the_pointer_names_whatever_the_ledger_says() -> None:
    traffic, a, b = two_slots()
    traffic.know({"live": "policy-0002"})
    with pytest.raises(EngineError, match="no policy is live"):
        traffic.choose("live")
    traffic.point(a)
    assert traffic.choose("live") is a
    traffic.point(b)
    assert traffic.choose("live") is b


def test_aliases_and_versions_find_their_slot() -> None:
    traffic, a, b = two_slots()
    traffic.point(b)
    traffic.know({"live": "policy-0002", "previous": "policy-0001", "candidate": "policy-0007"})
    assert traffic.choose("previous") is a
    assert traffic.choose("policy-0001") is a
    assert list(traffic.names()) == ["live", "previous", "policy-0001", "policy-0002"]


@pytest.mark.parametrize("name", ["candidate", "policy-0009", "gpt-4", ""])
def test_a_name_that_no_slot_holds_is_refused_with_those_that_are(name: str) -> None:
    traffic, a, _ = two_slots()
    traffic.point(a)
    traffic.know({"candidate": "policy-0009"})
    with pytest.raises(UnknownModel, match="loaded are: live, policy-0001, policy-0002"):
        traffic.choose(name)


def test_a_slot_being_changed_answers_under_no_name() -> None:
    traffic, a, b = two_slots()
    traffic.point(a)
    b.refuse()
    with pytest.raises(UnknownModel):
        traffic.choose("policy-0002")


def test_moving_the_pointer_reports_what_the_old_slot_still_answers() -> None:
    traffic, a, b = two_slots()
    assert traffic.point(a) == 0
    with a.hold():
        assert traffic.point(b) == 1
        assert traffic.idle() == [a]
    assert traffic.point(b) == 0


def test_of_two_slots_with_one_version_the_live_one_answers() -> None:
    traffic, _, b = two_slots("policy-0001", "policy-0001")
    traffic.point(b)
    assert traffic.choose("policy-0001") is b


def test_metrics_say_which_slot_holds_what() -> None:
    traffic, a, _ = two_slots()
    traffic.know({"live": "policy-0001", "previous": "policy-0002"})
    traffic.point(a)
    labels = {"slot": "b", "version": "policy-0002", "alias": "previous"}
    assert metrics.REGISTRY.get_sample_value("whetstone_slot_info", labels) == 1


def trial(traffic: Traffic, share: int, version: str = "policy-0002") -> None:
    """Make a version the canary."""
    traffic.know({}, Canary(version=version, share=share, actor="olga", since=utc_now()))


def answered_by(traffic: Traffic, name: str, callers: int = 400) -> dict[str, str]:
    """Return caller -> version for many callers of one name."""

    async def ask() -> dict[str, str]:
        return {str(caller): (await traffic.enter(name, str(caller))).version for caller in range(callers)}

    return asyncio.run(ask())


def test_a_share_of_the_callers_of_live_is_the_canarys_and_stays_so() -> None:
    traffic, a, _ = two_slots()
    traffic.point(a)
    trial(traffic, 25)
    first = answered_by(traffic, "live")
    assert 60 <= list(first.values()).count("policy-0002") <= 140
    assert answered_by(traffic, "live") == first
    trial(traffic, 60)
    more = answered_by(traffic, "live")
    assert all(more[caller] == "policy-0002" for caller, version in first.items() if version == "policy-0002")
    trial(traffic, 100)
    assert set(answered_by(traffic, "live").values()) == {"policy-0002"}
    traffic.know({}, None)
    assert set(answered_by(traffic, "live").values()) == {"policy-0001"}


def test_a_version_asked_for_by_name_is_never_rerouted() -> None:
    traffic, a, _ = two_slots()
    traffic.point(a)
    trial(traffic, 100)
    for name in ("policy-0001", "policy-0002"):
        assert set(answered_by(traffic, name).values()) == {name}


def test_a_share_of_nothing_is_reachable_by_name_only() -> None:
    traffic, a, b = two_slots()
    traffic.point(a)
    trial(traffic, 0)
    assert set(answered_by(traffic, "live").values()) == {"policy-0001"}
    assert traffic.choose("candidate") is b
    assert list(traffic.names()) == ["live", "candidate", "policy-0001", "policy-0002"]


def test_while_the_canary_is_not_loaded_live_answers_its_callers() -> None:
    traffic, a, _ = two_slots()
    traffic.point(a)
    trial(traffic, 100, "policy-0009")
    assert set(answered_by(traffic, "live").values()) == {"policy-0001"}


def test_a_breach_here_stops_routing_and_the_next_canary_begins_anew() -> None:
    traffic, a, _ = two_slots()
    traffic.point(a)
    trial(traffic, 100)
    for _ in range(20):
        traffic.outcome("policy-0001", True, False, 0.1)
    for _ in range(5):
        traffic.outcome("policy-0002", False, False, 0.1)
    assert set(answered_by(traffic, "live").values()) == {"policy-0001"}
    trial(traffic, 100)
    assert set(answered_by(traffic, "live").values()) == {"policy-0002"}


def test_metrics_name_the_canary_and_its_share() -> None:
    traffic, a, _ = two_slots()
    traffic.point(a)
    trial(traffic, 30)
    labels = {"slot": "b", "version": "policy-0002", "alias": "canary"}
    assert metrics.REGISTRY.get_sample_value("whetstone_slot_info", labels) == 1
    share = {"version": "policy-0002"}
    assert metrics.REGISTRY.get_sample_value("whetstone_canary_share_percent", share) == 30
    traffic.know({}, None)
    assert metrics.REGISTRY.get_sample_value("whetstone_canary_share_percent", share) is None


def test_callers_wait_at_a_shut_gate_and_are_answered_by_what_is_behind_it() -> None:
    traffic, a, b = two_slots()
    traffic.point(a)

    async def story() -> None:
        waiting: list[asyncio.Task[Slot]] = []
        with traffic.shut():
            waiting += [asyncio.create_task(traffic.enter("live", str(number))) for number in range(5)]
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in waiting)
            traffic.point(b)
        assert {(await task).version for task in waiting} == {"policy-0002"}

    asyncio.run(story())


def test_the_next_load_goes_where_least_is_missed() -> None:
    async def story() -> None:
        slots = [Slot(name, start_fake) for name in "abcd"]
        for slot, version in zip(slots, ["policy-0001", "policy-0002", "policy-0003"], strict=False):
            await slot.put(Path("x"), version, 1.0)
            slot.open(version)
        traffic = Traffic(slots)
        traffic.point(slots[0])
        keep = ["policy-0001", "policy-0003", "policy-0002"]
        assert [slot.name for slot in traffic.idle(keep)] == ["b", "c", "d"]
        assert [slot.name for slot in traffic.idle(["policy-0001", "policy-0002", "policy-0003"])] == ["c", "b", "d"]
        assert traffic.spare(keep) is slots[3]
        assert traffic.spare(["policy-0001", "policy-0003"]) is slots[1]

    asyncio.run(story())
