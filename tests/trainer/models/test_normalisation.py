"""Demonstrations score 0 on average, whatever reward model came before."""

from pathlib import Path

import pytest
import torch

from trainer.models.ensemble import RewardEnsemble
from trainer.models.normalisation import centre, score_groups, score_sequences
from trainer.models.scalar import ScalarModel

SEQUENCES = [[1, 7, 9, 2], [1, 30, 2], [1, 8, 8, 8, 8, 41, 2], [1, 2]]


def test_demonstrations_average_zero_again_after_every_change(tiny_policy_dir: Path) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        model = ScalarModel.from_policy(tiny_policy_dir)
        before = score_sequences(model, SEQUENCES, 0)
        moved = centre(model, SEQUENCES, 0)
        after = score_sequences(model, SEQUENCES, 0)
        assert abs(sum(after) / len(after)) < 1e-4
        assert [a + moved for a in after] == pytest.approx(before, abs=1e-5)
        assert abs(centre(model, SEQUENCES, 0)) < 1e-5


def test_scores_come_in_the_order_given_whatever_the_batches(tiny_policy_dir: Path) -> None:
    model = ScalarModel.from_policy(tiny_policy_dir)
    alone = [score_sequences(model, [sequence], 0)[0] for sequence in SEQUENCES]
    for budget in (1, 8, 1000):
        assert score_sequences(model, SEQUENCES, 0, budget) == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("budget", [1, 20, 1000])
def test_scores_of_groups_are_those_of_their_sequences(tiny_policy_dir: Path, budget: int) -> None:
    model = ScalarModel.from_policy(tiny_policy_dir)
    prompts = [[1, 7], [1], [1, 8, 9, 10]]
    completions = [[[5, 2], [6, 7, 2], [2]], [[9, 2]], [[4, 2], [2]]]
    sequences = [p + c for p, own in zip(prompts, completions, strict=True) for c in own]
    expected = score_sequences(model, sequences, 0)
    assert score_groups(model, prompts, completions, 0, budget) == pytest.approx(expected, abs=1e-5)
    both = RewardEnsemble([model, model], [1.0, 3.0])
    assert score_groups(both, prompts, completions, 0, budget) == pytest.approx(
        [2 * each for each in expected], abs=1e-5
    )
    model.trunk.config.sliding_window = 256
    assert score_groups(model, prompts, completions, 0, budget) == pytest.approx(expected, abs=1e-6)


def test_zero_of_nothing_is_refused(tiny_policy_dir: Path) -> None:
    with pytest.raises(ValueError, match="at least one sequence"):
        centre(ScalarModel.from_policy(tiny_policy_dir), [], 0)
