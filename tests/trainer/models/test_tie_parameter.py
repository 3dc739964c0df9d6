"""The tie parameter's file, its first value and its bounded steps."""

from pathlib import Path

import pytest

from feedback.errors import ArtifactCorrupt
from trainer.models.tie_parameter import TIES_FILE, TieParameter


def test_it_is_kept_beside_the_reward_model(tmp_path: Path) -> None:
    assert TieParameter.load(tmp_path) is None
    TieParameter("rao-kupper", -0.123456789012345).save(tmp_path)
    found = TieParameter.load(tmp_path)
    assert found is not None
    assert (found.model, found.value) == ("rao-kupper", -0.123456789012345)
    (tmp_path / TIES_FILE).write_text('{"model": "davidson"}')
    with pytest.raises(ArtifactCorrupt, match=r"ties\.json"):
        TieParameter.load(tmp_path)


def test_it_starts_at_the_observed_share() -> None:
    assert TieParameter.start("davidson", 30, 100, 0.1).share(0.0) == pytest.approx(0.3)


def test_a_step_is_a_share_of_the_scoring_step_and_never_a_leap() -> None:
    parameter = TieParameter("davidson", 0.0, rate=0.5)
    parameter.learn(0.02, 0.1)
    assert parameter.value == pytest.approx(0.1)
    parameter.learn(-1.0, 0.0)
    assert parameter.value == pytest.approx(-0.4)
    for _ in range(100):
        parameter.learn(-1.0, 0.01)
    assert parameter.value == -10.0
