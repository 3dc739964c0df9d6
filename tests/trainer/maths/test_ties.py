"""Ties: probabilities that add up, Bradley-Terry without ties, gradients of the printed formulas, no overflow."""

import math

import pytest
import torch

from trainer.maths.ties import (
    TIE_MODELS,
    TieModel,
    kwise_loss_with_ties,
    outcomes,
    parameter_for,
    score_and_information,
    tie_share,
)

GAPS = torch.tensor([-3.0, -0.5, 0.0, 0.2, 4.0], dtype=torch.float64)


def printed(gap: torch.Tensor, parameter: torch.Tensor, model: TieModel) -> tuple[torch.Tensor, torch.Tensor]:
    """P(first) and P(tie) as the papers print them, of worths p = exp(gap) and q = 1."""
    p = gap.exp()
    if model == "davidson":
        nu = parameter.exp()
        whole = p + 1 + nu * p.sqrt()
        return p / whole, nu * p.sqrt() / whole
    theta = parameter.exp().exp()
    return p / (p + theta), (theta**2 - 1) * p / ((p + theta) * (1 + theta * p))


@pytest.mark.parametrize("model", TIE_MODELS)
@pytest.mark.parametrize("parameter", [-3.0, -0.4, 0.8])
def test_probabilities_are_the_printed_ones_and_add_up(model: TieModel, parameter: float) -> None:
    said = outcomes(GAPS, parameter, model)
    first, tie = printed(GAPS, torch.tensor(parameter, dtype=torch.float64), model)
    assert torch.allclose(said.first_P.exp(), first, atol=1e-12)
    assert torch.allclose(said.tie_P.exp(), tie, atol=1e-12)
    assert torch.allclose(sum(each.exp() for each in said), torch.ones_like(GAPS), atol=1e-12)  # type: ignore[arg-type]
    mirrored = outcomes(-GAPS, parameter, model)
    assert torch.equal(mirrored.first_P, said.second_P)
    assert torch.allclose(mirrored.tie_P, said.tie_P, atol=1e-12)


@pytest.mark.parametrize("model", TIE_MODELS)
def test_gradients_are_those_of_the_printed_formulas(model: TieModel) -> None:
    gaps = GAPS.clone().requires_grad_()
    parameter = torch.tensor(-0.4, dtype=torch.float64, requires_grad=True)
    tied = torch.tensor([True, False, True, False, False])
    weights = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25], dtype=torch.float64)
    ours = torch.autograd.grad(kwise_loss_with_ties(gaps, tied, weights, parameter, model), [gaps, parameter])
    first, tie = printed(gaps, parameter, model)
    naive = -(torch.where(tied, tie, first).log() * weights).sum()
    for mine, theirs in zip(ours, torch.autograd.grad(naive, [gaps, parameter]), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-10)
    slope, information = score_and_information(GAPS, tied, weights, -0.4, model)
    assert math.isclose(slope, -float(ours[1]), abs_tol=1e-10)
    # Fisher information: the expected square of the slope over what labelers may say.
    said, expected = outcomes(GAPS, -0.4, model), 0.0
    for index, weight in enumerate(weights.tolist()):
        for chances, gap, is_tie in (
            (said.first_P, GAPS, False), (said.second_P, -GAPS, False), (said.tie_P, GAPS, True)
        ):  # fmt: skip
            one, _ = score_and_information(gap[[index]], torch.tensor([is_tie]), torch.ones(1), -0.4, model)
            expected += weight * float(chances[index].exp()) * one**2
    assert math.isclose(information, expected, rel_tol=1e-9)


@pytest.mark.parametrize("model", TIE_MODELS)
def test_without_ties_it_is_bradley_terry(model: TieModel) -> None:
    said = outcomes(GAPS, -30.0, model)
    assert torch.allclose(said.first_P, torch.nn.functional.logsigmoid(GAPS), atol=1e-9)
    assert float(said.tie_P.exp().max()) < 1e-6


def test_given_that_there_is_no_tie_davidson_is_bradley_terry() -> None:
    said = outcomes(GAPS, 0.7, "davidson")
    assert torch.allclose(said.first_P - said.second_P, GAPS, atol=1e-12)


@pytest.mark.parametrize("model", TIE_MODELS)
def test_ties_pull_rewards_together_and_are_likeliest_where_they_are_equal(model: TieModel) -> None:
    gap = torch.tensor([1.5], requires_grad=True)
    (slope,) = torch.autograd.grad(kwise_loss_with_ties(gap, torch.tensor([True]), torch.ones(1), 0.0, model), [gap])
    assert float(slope) > 0
    shares = [tie_share(gap, 0.0, model) for gap in (0.0, 0.5, -0.5, 3.0)]
    assert shares[0] > shares[1] > shares[3]
    assert shares[1] == pytest.approx(shares[2])


@pytest.mark.parametrize("model", TIE_MODELS)
@pytest.mark.parametrize("gap", [-1000.0, 1000.0])
@pytest.mark.parametrize("parameter", [-10.0, 3.0])
def test_extreme_gaps_stay_finite(model: TieModel, gap: float, parameter: float) -> None:
    gaps = torch.tensor([gap, gap], requires_grad=True)
    tied, weights = torch.tensor([True, False]), torch.ones(2)
    loss = kwise_loss_with_ties(gaps, tied, weights, parameter, model)
    (slope,) = torch.autograd.grad(loss, [gaps])
    assert math.isfinite(float(loss.detach()))
    assert bool(slope.isfinite().all())
    assert all(map(math.isfinite, score_and_information(gaps.detach(), tied, weights, parameter, model)))


@pytest.mark.parametrize("model", TIE_MODELS)
def test_training_starts_where_equal_completions_tie_as_often_as_observed(model: TieModel) -> None:
    for share in (0.05, 0.3, 0.8):
        assert math.isclose(tie_share(0.0, parameter_for(share, model), model), share, rel_tol=1e-9)
    assert math.isfinite(parameter_for(0.0, model))
    assert math.isfinite(parameter_for(1.0, model))
