"""A child dies of what was chosen, nothing of it is left, and differences are named."""

import os
import signal
import subprocess
import sys
import time

import pytest

from benchmarks import mortal
from benchmarks.mortal import Outcome, bury, differences, wait


def test_differences_are_named_on_both_sides() -> None:
    assert differences({"a": "1", "b": "2"}, {"b": "3", "c": "4"}) == ["a", "b", "c"]
    assert differences({"a": "1"}, {"a": "1"}) == []


def test_equal_means_finished_and_without_a_difference() -> None:
    assert not Outcome("k", "s", "w").equal
    assert Outcome("k", "s", "w", finished=True).equal
    assert not Outcome("k", "s", "w", finished=True, differences=["model.safetensors"]).equal


def test_exit_codes_and_signals_are_told_apart() -> None:
    for code, expected in (("import os; os._exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL)):
        pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", code])
        assert wait(pid) == expected


def test_what_a_dead_child_leaves_is_waited_for_and_then_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mortal, "ORPHANS_S", 0.3)
    parent = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert parent.stdout is not None
    with parent.stdout as said:
        orphan = int(said.readline())
    parent.wait()
    assert bury(parent.pid) >= 0.3
    until = time.monotonic() + 10
    while mortal._group_of(mortal.Path(f"/proc/{orphan}/stat")) and time.monotonic() < until:
        time.sleep(0.01)
    assert mortal._group_of(mortal.Path(f"/proc/{orphan}/stat")) is None
    assert bury(parent.pid) < 0.3
