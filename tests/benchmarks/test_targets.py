"""Waiting for other programs, and what counts as disturbed."""

from itertools import count

import pytest

from benchmarks import targets
from benchmarks.load import Load
from benchmarks.targets import FOREIGN_CORES, Taken


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that passes only where the module sleeps; holds what it slept."""
    slept: list[float] = []
    monkeypatch.setattr(targets.time, "monotonic", lambda: sum(slept))
    monkeypatch.setattr(targets.time, "sleep", slept.append)
    return slept


def test_a_quiet_machine_is_not_waited_for(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "all_cpu_s", lambda: 5.0)
    targets.wait_for_quiet()
    assert clock == [targets.LOOK_S]


def test_a_busy_machine_is_waited_for_but_not_for_ever(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    spent = count()
    monkeypatch.setattr(targets, "all_cpu_s", lambda: float(next(spent)))
    targets.wait_for_quiet()
    assert sum(clock) == pytest.approx(targets.QUIET_S)


def test_a_load_is_disturbed_by_what_others_took() -> None:
    load = Load(job_seconds=1.0, tokens=1, answers=[], client_cpu_s=0.0)
    assert not Taken(load, 1.0, FOREIGN_CORES).disturbed
    assert Taken(load, 1.0, FOREIGN_CORES * 1.1).disturbed
