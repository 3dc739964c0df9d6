import asyncio
from pathlib import Path

import pytest

from feedback import metrics
from feedback.errors import EngineError, UnknownModel
from serve.engines.slot import Slot
from serve.traffic import Traffic
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
        assert traffic.idle() is a
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
