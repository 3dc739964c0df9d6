"""What is made of measured loads: figures, paired ratios, bars."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench_serve
from benchmarks.bench_serve import CONCURRENCIES, bars_against_bare, bars_against_litellm, compare, prompts, ratios
from benchmarks.common import Bar
from benchmarks.load import Answer, Load
from benchmarks.targets import Taken, Target

ROUNDS = 3


def target(name: str, latency_s: float, concurrencies: tuple[int, ...] = CONCURRENCIES) -> Target:
    """Return a server whose every answer took as long, in loads of ten seconds."""
    found = Target(name, "http://nowhere", "m", "k", [])
    for at in concurrencies:
        for number in range(ROUNDS):
            count = int(10 / latency_s)
            answers = [
                Answer(started_s=each * latency_s, ttft_s=latency_s / 10, latency_s=latency_s, fault="")
                for each in range(count)
            ]
            load = Load(job_seconds=10.0, tokens=64, answers=answers, client_cpu_s=0.1)
            found.loads.setdefault(at, []).append(Taken(load, cpu_s=1.0 + number, foreign_cores=0.01 * number))
    return found


def test_a_server_twice_as_slow_has_half_the_throughput() -> None:
    assert ratios(target("ours", 1.0), target("bare", 0.5), 16) == pytest.approx([0.5] * ROUNDS)


def test_our_front_meets_its_bars_where_it_costs_nothing_and_misses_them_where_it_costs_much() -> None:
    bare = target("bare", 0.5)
    assert [bar.passed for bar in bars_against_bare(target("ours", 0.5), bare)] == [True] * 6
    assert [bar.passed for bar in bars_against_bare(target("ours", 0.625), bare)] == [False] * 6


def test_another_front_must_be_far_slower() -> None:
    ours = target("ours", 0.5)
    assert [bar.passed for bar in bars_against_litellm(ours, target("litellm", 2.0, (32,)))] == [True, True]
    assert [bar.passed for bar in bars_against_litellm(ours, target("litellm", 1.0, (32,)))] == [False, True]
    assert [bar.passed for bar in bars_against_litellm(ours, target("litellm", 0.5, (32,)))] == [False, False]


def test_everything_that_was_measured_is_told() -> None:
    found = compare([target("ours", 0.5), target("bare", 0.5), target("litellm", 1.0, (32,))])
    assert set(found["ratios"]) == {
        "ours_to_bare_x1",
        "ours_to_bare_x16",
        "ours_to_bare_x32",
        "ours_to_litellm_x32",
    }
    assert len(found["loads"]) == 7
    one = found["loads"]["ours_x1"]
    assert one["answers"] == 20 * ROUNDS
    assert one["server_cpu_s_per_1k_tokens"] == pytest.approx(6 / (20 * ROUNDS * 64 / 1000), abs=1e-4)
    assert one["foreign_cores_max"] == pytest.approx(0.02)


def test_loads_that_others_disturbed_are_left_out() -> None:
    ours, bare = target("ours", 0.5), target("bare", 0.5)
    slow = target("ours", 2.0).loads[16][0]
    ours.loads[16][0] = Taken(slow.load, slow.cpu_s, foreign_cores=0.9)
    assert ratios(ours, bare, 16) == pytest.approx([1.0] * (ROUNDS - 1))
    found = compare([ours, bare])["loads"]["ours_x16"]
    assert (found["loads"], found["disturbed"]) == (ROUNDS, 1)
    assert found["latency_ms_p99"] == pytest.approx(500)


def test_if_all_were_disturbed_all_are_told() -> None:
    ours, bare = target("ours", 0.5), target("bare", 0.5)
    ours.loads[16] = [Taken(each.load, each.cpu_s, foreign_cores=0.9) for each in ours.loads[16]]
    assert len(ratios(ours, bare, 16)) == ROUNDS
    assert compare([ours, bare])["loads"]["ours_x16"]["disturbed"] == ROUNDS


def test_the_report_holds_both_models_and_all_bars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = iter([(0.5, 0.5, 1.0), (0.2, 0.2, 0.6)])
    reported: list[tuple[str, dict[str, Any], list[Bar]]] = []

    @contextmanager
    def servers(model: Path, workers: int) -> Iterator[list[Target]]:
        names = zip(("ours", "bare", "litellm"), next(made), strict=True)
        yield [target(name, latency_s) for name, latency_s in names]

    monkeypatch.setattr("sys.argv", ["bench_serve"])
    monkeypatch.setattr(bench_serve, "make_model", lambda path: tmp_path)
    monkeypatch.setattr(bench_serve, "servers", servers)
    monkeypatch.setattr(bench_serve, "check_equal", lambda targets: None)
    monkeypatch.setattr(bench_serve, "measure", lambda *_: None)
    monkeypatch.setattr(bench_serve, "report", lambda *given: reported.append(given))
    bench_serve.main()
    [(name, figures, bars)] = reported
    assert name == "serve"
    assert sum("million" in key for key in figures) == 2
    assert len(bars) == 8
    assert all(bar.passed for bar in bars)
    json.dumps(figures)


def test_loads_of_different_seeds_share_no_prompts() -> None:
    one, two = set(prompts(10)), set(prompts(11))
    assert len(one & two) < len(one) / 10
