"""Phases and the device's own figures brought together."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_phases import Phases, Watch, parse, table


def span(phase: str, iteration: int, began_s: float, s: float, peak_mib: float = 1.0) -> dict[str, object]:
    return {"phase": phase, "iteration": iteration, "began_s": began_s, "s": s, "peak_mib": peak_mib}


def test_figures_are_means_of_the_iterations_after_the_first() -> None:
    spans = [
        span("sample", 0, 0.0, 90.0, 900), span("sample", 1, 100.0, 4.0, 70), span("sample", 2, 110.0, 2.0, 80),
        span("learn", 1, 104.0, 5.0), span("learn", 2, 112.0, 3.0), span("learn", 2, 116.0, 2.0),
    ]  # fmt: skip
    seen = [(50.0, 100.0, 9000.0), (101.0, 60.0, 500.0), (111.0, 40.0, 700.0), (105.0, 90.0, 600.0)]
    found = table(spans, seen, {"sample": 600, "learn": 100}, {"sample": 3e12}, skip=1)
    assert found["sample"] == {
        "s": 3.0, "tokens_per_s": 200.0, "tflops_per_s": 1.0, "peak_mib": 80, "busy_percent": 50.0, "device_mib": 700.0,
    }  # fmt: skip
    assert found["learn"]["s"] == 5.0, "two spans of one iteration are added"
    assert found["learn"]["tflops_per_s"] is None
    assert found["learn"]["busy_percent"] == 90.0
    assert list(found) == ["sample", "learn"]
    assert table(spans, [], {}, {}, skip=1)["sample"]["busy_percent"] is None


def test_spans_say_when_and_in_which_iteration_and_steps_are_counted(tmp_path: Path) -> None:
    phases = Phases()
    phases.count_steps()
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)

    def learn() -> str:
        weight.sum().backward()
        optimizer.step()
        return "learned"

    before = time.time()
    assert phases.timed("learn", learn)() == "learned"
    phases.iteration += 1
    with phases.phase("score"):
        learn()
    phases.write(tmp_path / "phases.json", more=1)
    found = json.loads((tmp_path / "phases.json").read_text())
    assert [(each["phase"], each["iteration"]) for each in found["spans"]] == [("learn", 0), ("score", 1)]
    assert all(before <= each["began_s"] <= time.time() and each["peak_mib"] > 0 for each in found["spans"])
    assert (max(found["steps"]), found["more"]) == (2, 1)


@pytest.mark.parametrize(
    ("line", "expected"), [("37, 2048\n", (37.0, 2048.0)), ("[N/A], 3\n", None), ("no devices\n", None)]
)
def test_an_answer_is_two_numbers_or_nothing(line: str, expected: tuple[float, float] | None) -> None:
    assert parse(line) == expected


def test_a_watch_reads_what_the_program_says_and_does_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with Watch() as blind:
        assert blind.seen == []
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/bash\necho '37, 2048'\necho 'broken'\necho '41, 4096'\nexec /bin/sleep 600\n")
    program.chmod(0o755)
    with Watch() as watch:
        ends = time.monotonic() + 10
        while len(watch.seen) < 2 and time.monotonic() < ends:
            time.sleep(0.01)
    assert [row[1:] for row in watch.seen] == [(37.0, 2048.0), (41.0, 4096.0)]
