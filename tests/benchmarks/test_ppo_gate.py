"""Processes that take turns: what they answer, what is counted, and what happens when one dies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.ppo_gate import Worker
from tests.sources import ROOT

PROGRAM = """
import torch
from benchmarks.ppo_gate import Gate

gate = Gate(episodes=10)
gate.count_steps()
weight = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.SGD([weight], lr=0.1)

def work(number):
    print("noise that is no answer")
    for _ in range(2):
        weight.grad = torch.ones(2)
        optimizer.step()
    if number == {dies_at}:
        raise SystemExit("dead of itself")

timed = gate.timed("work", work)
for number in range(5):
    gate.turn()
    timed(number)
gate.finish(last=True)
"""


def worker(tmp_path: Path, dies_at: int = -1) -> Worker:
    program = PROGRAM.replace("{dies_at}", str(dies_at))
    return Worker([sys.executable, "-c", program], {"PYTHONPATH": str(ROOT)}, tmp_path / "log")


def test_turns_are_counted_and_clocked_one_by_one(tmp_path: Path) -> None:
    with worker(tmp_path) as process:
        first, second = process.go(2), process.go(3)
        process.wait()
    assert (first["episodes"], second["episodes"]) == (20, 30)
    assert first["steps_per_iteration"] == second["steps_per_iteration"] == [2.0]
    assert 0 < first["phases_cpu_s"]["work"] <= first["cpu_s"]
    assert first["peak_rss_mib"] > 50
    assert second["last"] is True
    assert "noise" in (tmp_path / "log").read_text()


def test_a_process_that_ends_early_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with worker(tmp_path, dies_at=1) as process:
        assert process.go(1)["episodes"] == 10
        with pytest.raises(RuntimeError, match="dead of itself"):
            process.go(2)
        with pytest.raises(RuntimeError, match="dead of itself"):
            process.wait()
