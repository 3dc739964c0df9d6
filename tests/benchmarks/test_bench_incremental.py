"""The benchmark of incremental reward models would see a costly one, one that falls behind and one that forgets."""

import math
from typing import Any

import pytest

from benchmarks.bench_incremental import bars, compare, summary


def runs(tokens: list[int], first: list[float], everything: float) -> list[dict[str, Any]]:
    held_out = [
        {part: {"accuracy": value, "gold_accuracy": value, "by_length": 0.5} for part, value in parts.items()}
        for parts in ({"first": first[0], "all": 0.5}, {"first": first[1], "all": everything})
    ]
    last = len(tokens) - 1
    return [
        {"train_tokens": count, "train_cpu_s": count / 10}
        | ({"held_out": held_out[number > 0]} if number in (0, last) else {})
        for number, count in enumerate(tokens)
    ]


def test_costs_are_those_of_all_rounds_and_points_those_of_the_last() -> None:
    full = runs([100 * number for number in range(1, 11)], [0.6, 0.7], 0.75)
    own = runs([100] + [125] * 9, [0.65, 0.64], 0.74)
    found = compare({"full": full, "incremental": own})
    assert found["tokens_share"] == pytest.approx(1225 / 5500)
    assert found["cpu_share"] == pytest.approx(1225 / 5500)
    assert found["tokens_share_of_the_last_round"] == 0.125
    assert found["behind_full_points"] == pytest.approx(1.0)
    assert found["forgotten_of_the_first_round_points"] == pytest.approx(1.0)
    assert found["behind_full_on_the_first_round_points"] == pytest.approx(6.0)
    assert found["above_length_points"] == pytest.approx(25.0)
    once = compare({"full": full[-1:], "incremental": own})
    assert once["behind_full_points"] == found["behind_full_points"]
    assert "tokens_share" not in once
    assert summary([found, once])["tokens_share"]["seeds"] == [found["tokens_share"]]


def test_interval_is_students() -> None:
    found = summary([{"x": 1.0}, {"x": 2.0}, {"x": 3.0}])["x"]
    assert found["mean"] == 2.0
    assert found["high"] - found["mean"] == pytest.approx(4.303 / math.sqrt(3))
    assert summary([{"x": 1.0}])["x"]["low"] is None


def test_every_promise_can_be_broken() -> None:
    good = {
        "behind_full_points": 0.2, "tokens_share": 0.22, "cpu_share": 0.23,
        "forgotten_of_the_first_round_points": -1.0, "above_length_points": 9.0,
    }  # fmt: skip

    def found(changes: dict[str, float]) -> list[bool]:
        return [bar.passed for bar in bars({name: {"mean": value} for name, value in (good | changes).items()})]

    assert all(found({}))
    for name in good:
        assert found({name: 2.0}).count(False) == 1, name
