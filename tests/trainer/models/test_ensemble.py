"""An ensemble's score is the members' mean on one scale, less its penalty; its directory names the members."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
import torch

from feedback.errors import ArtifactCorrupt, ArtifactMissing, ConfigError
from trainer.models.ensemble import (
    ENSEMBLE_FILE,
    RewardEnsemble,
    combined,
    common_scale,
    is_ensemble,
    load_reward,
    member_directories,
    members_of,
    write_members,
)
from trainer.models.scalar import ScalarModel

FACTORS = [1.0, 0.5, 2.0]


@pytest.fixture(scope="module")
def directory(tiny_policy_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three random heads on one trunk."""
    made = tmp_path_factory.mktemp("ensemble")
    for number in range(3):
        torch.manual_seed(number)
        ScalarModel.from_policy(tiny_policy_dir).save(made / "members" / str(number))
    write_members(made, [made / "members" / str(number) for number in range(3)], FACTORS)
    return made


def test_the_score_is_the_mean_of_scaled_members_less_their_deviation(directory: Path) -> None:
    ensemble = RewardEnsemble.load(directory, uncertainty_coef=0.5)
    ids = torch.tensor([[1, 5, 9, 2], [1, 7, 8, 2]])
    with torch.no_grad():
        own = torch.stack([member.score(ids, torch.ones_like(ids)) for member in members_of(ensemble)])
    scores, spread = ensemble.combine(own)
    for row in range(2):
        scaled = [factor * score for factor, score in zip(FACTORS, own[:, row].tolist(), strict=True)]
        assert spread[row].item() == pytest.approx(statistics.stdev(scaled), abs=1e-5)
        expected = statistics.fmean(scaled) - 0.5 * statistics.stdev(scaled)
        assert scores[row].item() == pytest.approx(expected, abs=1e-5)


def test_members_that_agree_pay_nothing_and_a_single_model_has_no_spread(directory: Path) -> None:
    ensemble = RewardEnsemble([ScalarModel.load(directory / "members" / "0")] * 3, [1.0] * 3, uncertainty_coef=9.0)
    scores = torch.tensor([[0.5, -2.0]] * 3)
    mean, spread = ensemble.combine(scores)
    assert torch.allclose(mean, scores[0])
    assert spread.abs().max() < 1e-6
    alone, nothing = combined(members_of(ensemble)[0], scores[:1])
    assert torch.equal(alone, scores[0])
    assert nothing is None


def test_a_directory_says_which_it_is_and_where_its_models_lie(directory: Path) -> None:
    member = directory / "members" / "1"
    assert is_ensemble(directory)
    assert not is_ensemble(member)
    assert member_directories(directory) == [directory / "members" / str(number) for number in range(3)]
    assert member_directories(member) == [member]
    loaded = load_reward(directory, uncertainty_coef=2.0)
    assert isinstance(loaded, RewardEnsemble)
    assert (loaded.uncertainty_coef, loaded.factors_M.tolist(), loaded.training) == (2.0, FACTORS, False)
    assert loaded.context_tokens == members_of(loaded)[0].context_tokens
    assert isinstance(load_reward(member), ScalarModel)


def test_what_cannot_be_an_ensemble_is_refused(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--uncertainty-coef 1 needs an ensemble"):
        load_reward(directory / "members" / "0", uncertainty_coef=1.0)
    with pytest.raises(ConfigError, match="two members or more, not 1"):
        RewardEnsemble([ScalarModel.load(directory / "members" / "0")], [1.0])
    with pytest.raises(ArtifactMissing, match="not an ensemble"):
        RewardEnsemble.load(tmp_path)
    (tmp_path / ENSEMBLE_FILE).write_text(json.dumps({"members": [{"directory": "members/0"}]}))
    with pytest.raises(ArtifactCorrupt, match="unreadable"):
        member_directories(tmp_path)


def test_factors_bring_members_to_their_mean_deviation() -> None:
    deviations = [0.5, 1.0, 3.0]
    scaled = [factor * deviation for factor, deviation in zip(common_scale(deviations), deviations, strict=True)]
    assert scaled == pytest.approx([1.5, 1.5, 1.5])
    with pytest.raises(ArtifactCorrupt, match="the same score"):
        common_scale([1.0, 0.0])
