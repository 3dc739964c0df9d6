"""How reliable each labeler is, and on what each of them leans: judgements seen through the rewards of a model.

The chance that labeler l prefers a to b is sigmoid(rho_l (r_a - r_b) + beta_l . (x_a - x_b)): rewards r, visible
features x, reliability rho_l (1 is usual, below 0 is against everybody), leaning beta_l. Each labeler's numbers are
drawn towards what is usual, the more so the fewer judgements there are. Knows gaps and features as plain numbers; does
not know models, files or names.

Source: the model of pairs is that of Bradley and Terry (1952); judges with a reliability of their own are those of
Dawid and Skene (1979) and, for pairs, of Chen et al. (2013, Crowd-BT); partial pooling as in Gelman and Hill (2007,
ch. 12). What is usual has Student's t around it instead of a Gaussian (Lange, Little and Taylor 1989), so that one
adversary neither moves the middle of the others nor is himself drawn into it.

Dimension letters: P judged pairs, L labelers, F features, D = 1 + F effects (reliability first).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

TAIL = 3.0
"""Degrees of freedom of Student's t; 3 has a variance, and tails that leave outliers nearly alone."""
USUAL_SPREAD = 0.25
"""How much labelers are taken to differ before any was seen, in logits per unit of a gap or of a feature."""
USUAL_WEIGHT = 2.0
"""Labelers that this is worth beside those who are seen: with hundreds of them it does not count."""
BOUND = 1.96
"""Standard errors of a two-sided 95 % interval."""
MOST_SCALE, _ROUNDS, _TOLERANCE = 1.5, 100, 1e-4


class LabelerFit(NamedTuple):
    """What was found of all labelers.

    Attributes:
        usual_D: (D,) middle of all labelers; of the features, how all of them differ from the rewards alike.
        spread_D: (D,) scale of Student's t around it.
        effects_LD: (L, D) of each labeler, in logits per unit of gap or feature; ``usual_D`` of one without judgements.
        errors_LD: (L, D) standard errors of ``effects_LD`` minus ``usual_D``, judgements of one row not independent.
        pairs_L: (L,) judgements of each.
    """

    usual_D: Tensor
    spread_D: Tensor
    effects_LD: Tensor
    errors_LD: Tensor
    pairs_L: Tensor

    @property
    def leanings_LD(self) -> Tensor:
        """(L, D) how each labeler differs from what is usual."""
        return self.effects_LD - self.usual_D

    @property
    def scales_L(self) -> Tensor:
        """(L,) weight of each labeler's gaps in training: reliability over the usual one, in [0, 1.5]; no one is 1."""
        usual = float(self.usual_D[0])
        # Without anybody to go by (a model that has learned nothing yet) everybody counts alike.
        return (self.effects_LD[:, 0] / usual).clamp(0.0, MOST_SCALE) if usual > 0 else torch.ones(len(self.effects_LD))

    @property
    def adversarial_L(self) -> Tensor:
        """(L,) bool: the whole interval of the reliability is below 0."""
        return self.effects_LD[:, 0] + BOUND * self.errors_LD[:, 0] < 0


def fit(gaps_P: Tensor, features_PF: Tensor, labeler_P: Tensor, row_P: Tensor, labelers: int) -> LabelerFit:
    """Find every labeler's reliability and leanings: the posterior mode, by Newton steps within an EM.

    Args:
        gaps_P: (P,) reward of the chosen completion minus that of the rejected one, by a model that has not learned
            from the judgement; logits, 1 being the slope of all labelers together (see ``calibrated``).
        features_PF: (P, F) feature of the chosen completion minus that of the rejected one; deviation about 1.
        labeler_P: (P,) int64 number of who judged.
        row_P: (P,) int64 number of the row; judgements of one row share what the labeler saw in it.
        labelers: how many there are.

    Returns:
        The fit; all that is usual if there is no judgement.
    """
    design_PD = torch.cat([gaps_P[:, None], features_PF], dim=1).double()
    effects_D = design_PD.shape[1]
    usual_D = torch.tensor([1.0] + [0.0] * (effects_D - 1), dtype=torch.float64)
    spread_D = torch.full((effects_D,), USUAL_SPREAD, dtype=torch.float64)
    effects_LD = usual_D.repeat(labelers, 1)
    pairs_L = torch.bincount(labeler_P, minlength=labelers)
    seen_L1 = (pairs_L > 0).double()[:, None]
    for _ in range(_ROUNDS if len(gaps_P) else 0):
        before_D = usual_D
        precision_LD = _precision(effects_LD - usual_D, spread_D)
        effects_LD, variance_LD = _newton(design_PD, labeler_P, effects_LD, usual_D, precision_LD)
        weight_LD = precision_LD * spread_D.square() * seen_L1
        usual_D = (weight_LD * effects_LD).sum(0) / weight_LD.sum(0)
        squares_D = (weight_LD * ((effects_LD - usual_D).square() + variance_LD)).sum(0)
        spread_D = ((USUAL_WEIGHT * USUAL_SPREAD**2 + squares_D) / (USUAL_WEIGHT + float(seen_L1.sum()))).sqrt()
        effects_LD = torch.where(seen_L1 > 0, effects_LD, usual_D)
        if float((usual_D - before_D).abs().max()) < _TOLERANCE:
            break
    precision_LD = _precision(effects_LD - usual_D, spread_D)
    errors_LD = _errors(design_PD, labeler_P, row_P, effects_LD, precision_LD)
    return LabelerFit(usual_D, spread_D, effects_LD, errors_LD, pairs_L)


def calibrated(gaps_P: Tensor, stretches: int = 8) -> Tensor:
    """Gaps in the order in which a model in training made them, each multiplied with the slope of its stretch.

    A young model's gaps say less about labels than they claim. Of each stretch, the slope s that makes sigmoid(s gap)
    fit all labelers' choices best (Platt 1999) undoes that; a stretch that says nothing has slope 0.

    Args:
        gaps_P: (P,) chosen minus rejected; logits.
        stretches: equal parts of the order, fewer where there are not 100 gaps in each.

    Returns:
        (P,) float64 gaps whose slope over all labelers is 1.
    """
    gaps_P = gaps_P.double()
    parts = gaps_P.tensor_split(max(1, min(stretches, len(gaps_P) // 100)))
    return torch.cat([part * _slope(part) for part in parts]) if len(gaps_P) else gaps_P


def log_odds(fit_: LabelerFit, gaps_P: Tensor, features_PF: Tensor, labeler_P: Tensor) -> Tensor:
    """(P,) log-odds that each judgement is as it is, by who made it."""
    return (torch.cat([gaps_P[:, None], features_PF], dim=1) * fit_.effects_LD[labeler_P]).sum(1)


def surprise(log_odds_P: Tensor) -> tuple[float, float]:
    """How unlike what was expected the judgements of one item are.

    Args:
        log_odds_P: (P,) log-odds of what was said.

    Returns:
        (mean surprise in nats, its excess over the expected one in standard deviations): about 0 and 1 where the model
        is right about everything, large where people see something that it does not.
    """
    nats_P = -torch.nn.functional.logsigmoid(log_odds_P)
    chance_P = torch.sigmoid(log_odds_P)
    expected_P = chance_P * nats_P + (1 - chance_P) * (nats_P + log_odds_P)
    variance = float((chance_P * (1 - chance_P) * log_odds_P.square()).sum())
    excess = float((nats_P - expected_P).sum())
    return float(nats_P.mean()), excess / math.sqrt(variance) if variance > 0 else 0.0


def _slope(gaps_P: Tensor) -> float:
    """The maximum-likelihood slope, no less than 0, by Newton's method kept from overshooting."""
    slope = 0.0
    scale = float(gaps_P.square().mean().sqrt())
    for _ in range(30 if scale > 0 else 0):
        chance_P = torch.sigmoid(-slope * gaps_P)
        score = float((chance_P * gaps_P).sum())
        information = float((chance_P * (1 - chance_P) * gaps_P.square()).sum())
        step = score / max(information, 1e-9)
        slope = max(slope + max(min(step, 2.0 / scale), -2.0 / scale), 0.0)
    return slope


def _precision(leanings_LD: Tensor, spread_D: Tensor) -> Tensor:
    """(L, D) precision of the Gaussian that Student's t is at each labeler's present place (its scale mixture)."""
    return (TAIL + 1) / (TAIL * spread_D.square() + leanings_LD.square())


def _newton(
    design_PD: Tensor, labeler_P: Tensor, effects_LD: Tensor, usual_D: Tensor, precision_LD: Tensor
) -> tuple[Tensor, Tensor]:
    """One step towards each labeler's mode, and the (L, D) variances where it began: the EM goes round anyway."""
    chance_P = torch.sigmoid(-(design_PD * effects_LD[labeler_P]).sum(1))
    score_LD = torch.zeros_like(effects_LD).index_add_(0, labeler_P, chance_P[:, None] * design_PD)
    score_LD -= precision_LD * (effects_LD - usual_D)
    covariance_LDD = _bread(design_PD, labeler_P, effects_LD, precision_LD)
    step_LD = (covariance_LDD @ score_LD[:, :, None]).squeeze(2)
    # The objective is concave, but a full step from far away may overshoot where the curvature is flat.
    return effects_LD + step_LD.clamp(-1.0, 1.0), covariance_LDD.diagonal(dim1=1, dim2=2)


def _bread(design_PD: Tensor, labeler_P: Tensor, effects_LD: Tensor, precision_LD: Tensor) -> Tensor:
    """(L, D, D) inverse of each labeler's information, the prior's included."""
    chance_P = torch.sigmoid((design_PD * effects_LD[labeler_P]).sum(1))
    outer_PDD = (chance_P * (1 - chance_P))[:, None, None] * design_PD[:, :, None] * design_PD[:, None, :]
    information_LDD = torch.diag_embed(precision_LD).index_add_(0, labeler_P, outer_PDD)
    inverse_LDD: Tensor = torch.linalg.inv(information_LDD)
    return inverse_LDD


def _errors(design_PD: Tensor, labeler_P: Tensor, row_P: Tensor, effects_LD: Tensor, precision_LD: Tensor) -> Tensor:
    """Standard errors of the leanings: Hessian and scores by row (Huber 1967, White 1982), and the middle's own error.

    Six pairs of one ranking of four are far from six independent judgements: scores are summed by row before they are
    squared. The prior counts as one more row whose information is as large as it says.
    """
    bread_LDD = _bread(design_PD, labeler_P, effects_LD, precision_LD)
    chance_P = torch.sigmoid(-(design_PD * effects_LD[labeler_P]).sum(1))
    keys, cluster_P = torch.unique(torch.stack([labeler_P, row_P]), dim=1, return_inverse=True)
    score_CD = torch.zeros(keys.shape[1], design_PD.shape[1], dtype=torch.float64)
    score_CD.index_add_(0, cluster_P, chance_P[:, None] * design_PD)
    meat_LDD = torch.diag_embed(precision_LD)
    meat_LDD.index_add_(0, keys[0], score_CD[:, :, None] * score_CD[:, None, :])
    own_LDD = bread_LDD @ meat_LDD @ bread_LDD
    total_LD = 1 / precision_LD + own_LDD.diagonal(dim1=1, dim2=2)
    middle_D = 1 / (1 / total_LD).sum(0)
    # A labeler's leaning follows an error of the middle as far as the data, not the prior, decided it.
    follows_LDD = torch.eye(design_PD.shape[1], dtype=torch.float64) - bread_LDD @ torch.diag_embed(precision_LD)
    from_middle_LDD = follows_LDD @ torch.diag(middle_D) @ follows_LDD.transpose(1, 2)
    return (own_LDD + from_middle_LDD).diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
