"""What is made of the answers around swaps."""

import uuid

import pytest

from benchmarks.bench_swap import Move, Window, figures, last_routed_s
from benchmarks.streams import Answer

OLD, NEW = "policy-0001", "policy-0002"
POSTED = 1_800_000_000.0


def answer(version: str, routed_at: float, ttft_s: float = 0.1) -> Answer:
    """Return an answer whose id says when it was routed."""
    stamp = f"{int(routed_at * 1000):012x}7" + uuid.UUID(int=7).hex[13:]
    return Answer(
        prompt=0,
        started_at=routed_at,
        ttft_s=ttft_s,
        latency_s=1.0,
        version=version,
        id=f"chatcmpl-{stamp}",
        tokens=[1],
        fault="",
    )


@pytest.mark.parametrize(
    ("routed", "expected"),
    [([-0.5, -0.01], 0.0), ([-0.5, 0.03], 0.03), ([0.03, 0.08, -0.2], 0.08), ([], 0.0), ([0.02, 900.0], 0.02)],
)
def test_the_last_request_routed_to_the_old_version_counts(routed: list[float], expected: float) -> None:
    move = Move("rollback", OLD, NEW, POSTED, 0.01)
    answers = [answer(OLD, POSTED + at) for at in routed] + [answer(NEW, POSTED + at) for at in (0.04, 0.5)]
    assert last_routed_s(move, answers) == pytest.approx(expected, abs=0.002)


def windows(*foreign: float) -> tuple[list[Window], list[Answer]]:
    """Return pairs of windows, with swaps twice as slow, disturbed ones ten times."""
    spans, answers = [], []
    for number, cores in enumerate(foreign):
        for half, swaps in enumerate((True, False)):
            begin = POSTED + 20 * number + 10 * half
            spans.append(Window(swaps, begin, begin + 10, cores))
            slow = (2 if swaps else 1) * (10 if swaps and cores > 0.5 else 1)
            answers += [answer(OLD, begin + at / 10, 0.1 * slow) for at in range(100)]
    return spans, answers


@pytest.mark.parametrize(
    ("foreign", "ratio", "pairs"),
    [((0.0, 0.0, 0.05), 2.0, 3), ((0.0, 0.9, 0.9), 2.0, 1), ((0.9, 0.9), 20.0, 0)],
)
def test_pairs_that_other_programs_disturbed_count_only_if_all_were(
    foreign: tuple[float, ...], ratio: float, pairs: int
) -> None:
    spans, answers = windows(*foreign)
    moves = [Move(kind, OLD, NEW, POSTED + 5, 0.01) for kind in ("promote", "rollback")]
    found = figures(spans, moves, answers)
    assert found["ttft_p99_ratio"]["median"] == pytest.approx(ratio)
    assert found["undisturbed_pairs"] == pairs
    assert found["ttft_ms"]["without"]["p99"] == pytest.approx(100)
