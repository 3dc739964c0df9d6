"""A run is measured before, on its way and at its end; its start is the policy that it begins with."""

from typing import Any

import pytest

from benchmarks.paper.arms import Place, found
from benchmarks.paper.plan import BY_NAME


@pytest.fixture
def result(quick: Place) -> dict[str, Any]:
    result = found(quick, BY_NAME["ppo-ptx"])
    assert result is not None
    return result


def test_points_begin_at_the_start_and_end_with_the_last_iteration(quick: Place, result: dict[str, Any]) -> None:
    points, figures = result["series"]["points"], result["figures"]
    assert [point["iteration"] for point in points] == [0, quick.sizes.iterations]
    assert points[0]["kl_nats"] == pytest.approx(0, abs=1e-5)
    start = found(quick, BY_NAME["start"])
    assert start is not None
    assert points[0]["pretraining_loss"] == pytest.approx(start["figures"]["pretraining_loss"], abs=1e-6)
    assert figures["start_pretraining_loss"] == points[0]["pretraining_loss"]
    assert figures["kl_nats"] == points[-1]["kl_nats"]
    assert figures["pretraining_loss"] == pytest.approx(points[-1]["pretraining_loss"], abs=1e-6)


def test_the_average_is_behind_the_last_weights(result: dict[str, Any]) -> None:
    figures = result["figures"]
    assert figures["raw_pretraining_loss"] != figures["pretraining_loss"]
    assert figures["raw_kl_nats"] > figures["kl_nats"]


def test_every_iteration_has_a_gold_score(quick: Place, result: dict[str, Any]) -> None:
    training = result["series"]["training"]
    assert [row["iteration"] for row in training] == list(range(quick.sizes.iterations))
    assert all({"kl_nats", "reward", "gold", "eos_rate"} <= row.keys() for row in training)
