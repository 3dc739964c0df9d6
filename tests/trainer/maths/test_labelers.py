"""Labelers fitted to judgements: plants are found, adversaries are named, and rows are not counted twice."""

import math
import random

import pytest
import torch
from torch import Tensor

from trainer.maths.labelers import BOUND, calibrated, fit, log_odds, surprise

LABELERS, ROWS, K = 8, 50, 3


def judged(
    seed: int, reliability: dict[int, float], leaning: dict[int, float]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rankings by the model itself (Gumbel noise): rewards with an error of their own, and one feature."""
    rng = random.Random(seed)
    gaps, features, labelers, rows = [], [], [], []
    for row in range(LABELERS * ROWS):
        who = row % LABELERS
        worth, seen = ([rng.gauss(0, 1.5) for _ in range(K)] for _ in range(2))
        felt = [
            reliability.get(who, 1.0) * w + leaning.get(who, 0.0) * x - math.log(-math.log(rng.random()))
            for w, x in zip(worth, seen, strict=True)
        ]
        model = [w + rng.gauss(0, 0.3) for w in worth]
        for a in range(K):
            for b in range(K):
                if felt[a] > felt[b]:
                    gaps.append(model[a] - model[b])
                    features.append([seen[a] - seen[b]])
                    labelers.append(who)
                    rows.append(row)
    return torch.tensor(gaps), torch.tensor(features) / 2, torch.tensor(labelers), torch.tensor(rows)


@pytest.mark.parametrize("planted", [0.8, -0.8])
def test_a_planted_leaning_is_found_with_its_sign_and_the_others_are_left_alone(planted: float) -> None:
    found = false = 0
    for seed in range(10):
        gaps_P, features_PF, labeler_P, row_P = judged(seed, {}, {seed % LABELERS: planted})
        result = fit(calibrated(gaps_P), features_PF, labeler_P, row_P, LABELERS)
        lean, half = result.leanings_LD[:, 1], BOUND * result.errors_LD[:, 1]
        beyond = lean.abs() > half
        found += bool(beyond[seed % LABELERS]) and float(lean[seed % LABELERS]) * planted > 0
        false += int(beyond.sum()) - bool(beyond[seed % LABELERS])
    assert found == 10
    assert false <= 7, "one in ten of 70; one in twenty is what the intervals promise"


def test_adversaries_are_named_and_weigh_nothing_and_the_middle_stays_with_the_others() -> None:
    gaps_P, features_PF, labeler_P, row_P = judged(3, {0: -1.0, 5: 0.0}, {})
    result = fit(gaps_P, features_PF, labeler_P, row_P, LABELERS)
    assert result.adversarial_L.tolist() == [True] + [False] * (LABELERS - 1)
    assert result.scales_L[0] == 0.0
    assert float(result.scales_L[5]) < 0.3, "somebody who guesses"
    assert 0.8 < float(result.usual_D[0]) < 1.2, "neither of them moves the middle"
    assert all(scale > 0.6 for place, scale in enumerate(result.scales_L.tolist()) if place not in (0, 5))


def test_who_judged_nothing_is_usual_and_with_no_judgement_everybody_is() -> None:
    gaps_P, features_PF, labeler_P, row_P = judged(4, {}, {})
    result = fit(gaps_P, features_PF, labeler_P, row_P, LABELERS + 1)
    assert torch.equal(result.effects_LD[-1], result.usual_D)
    assert result.pairs_L[-1] == 0
    nothing = fit(gaps_P[:0], features_PF[:0], labeler_P[:0], row_P[:0], 2)
    assert nothing.scales_L.tolist() == [1.0, 1.0]
    assert not nothing.adversarial_L.any()


def test_few_judgements_are_drawn_to_the_middle_more_than_many() -> None:
    gaps_P, features_PF, labeler_P, row_P = judged(5, {1: -1.0}, {})
    few_P = (labeler_P != 1) | (row_P < 10)  # she judged two rows
    few = fit(gaps_P[few_P], features_PF[few_P], labeler_P[few_P], row_P[few_P], LABELERS)
    many = fit(gaps_P, features_PF, labeler_P, row_P, LABELERS)
    assert few.effects_LD[1, 0] > many.effects_LD[1, 0]
    assert not few.adversarial_L[1]


def test_saying_the_same_of_a_row_again_is_no_new_evidence() -> None:
    gaps_P, features_PF, labeler_P, row_P = judged(6, {}, {2: 0.5})
    once = fit(gaps_P, features_PF, labeler_P, row_P, LABELERS)
    again = fit(*(each.repeat_interleave(4, 0) for each in (gaps_P, features_PF, labeler_P, row_P)), LABELERS)
    halves = again.errors_LD[:, 1] / once.errors_LD[:, 1]
    assert float(halves.min()) > 0.8, "a Hessian alone would halve them"


def test_the_fit_is_where_the_gradient_of_the_penalised_likelihood_vanishes() -> None:
    gaps_P, features_PF, labeler_P, row_P = judged(7, {}, {2: 0.5})
    result = fit(gaps_P, features_PF, labeler_P, row_P, LABELERS)
    effects_LD = result.effects_LD.clone().requires_grad_()
    odds_P = (torch.cat([gaps_P[:, None], features_PF], 1).double() * effects_LD[labeler_P]).sum(1)
    precision_LD = 4 / (3 * result.spread_D**2 + result.leanings_LD**2)
    prior = (precision_LD * (effects_LD - result.usual_D).square()).sum() / 2
    (torch.nn.functional.logsigmoid(odds_P).sum() - prior).backward()  # type: ignore[no-untyped-call]
    assert effects_LD.grad is not None
    assert float(effects_LD.grad.abs().max()) < 0.5, "of scores that are sums over some hundred judgements"
    assert torch.allclose(log_odds(result, gaps_P, features_PF, labeler_P), odds_P.detach(), atol=1e-6)


def test_gaps_of_a_young_model_are_scaled_to_what_they_say() -> None:
    generator = torch.Generator().manual_seed(0)
    true_P = torch.randn(4000, generator=generator) * 2
    sign_P = (torch.rand(4000, generator=generator) < torch.sigmoid(true_P)).double() * 2 - 1
    noise_P = torch.randn(4000, generator=generator) * 2
    gaps_P = sign_P * torch.cat([noise_P[:2000], true_P[2000:] * 3])
    result_P = calibrated(gaps_P, 2)
    assert float(result_P[:2000].abs().mean()) < 0.3, "half of them say nothing"
    slope = float((result_P[2000:] / gaps_P[2000:]).mean())
    assert slope == pytest.approx(1 / 3, abs=0.05)
    assert calibrated(gaps_P[:0]).shape == (0,)
    assert calibrated(torch.zeros(10)).tolist() == [0.0] * 10


def test_surprise_is_in_units_of_what_chance_would_do() -> None:
    generator = torch.Generator().manual_seed(1)
    excesses = []
    for _ in range(300):
        odds_P = torch.randn(12, generator=generator, dtype=torch.float64)
        said_P = torch.rand(12, generator=generator) < torch.sigmoid(odds_P)
        excesses.append(surprise(torch.where(said_P, odds_P, -odds_P))[1])
    mean = sum(excesses) / 300
    assert abs(mean) < 0.2
    assert math.sqrt(sum((each - mean) ** 2 for each in excesses) / 300) == pytest.approx(1.0, abs=0.15)
    nats, excess = surprise(torch.full((6,), -3.0, dtype=torch.float64))
    assert nats == pytest.approx(math.log1p(math.exp(3)), abs=1e-6)
    assert excess > 5
    assert surprise(torch.zeros(3, dtype=torch.float64)) == (pytest.approx(math.log(2)), 0.0)
