"""Two models of comparisons that may end in a tie, as pure functions of reward gaps: Davidson's and Rao and Kupper's.

Both are Bradley-Terry where the order is strict and give the tie a likelihood of its own, largest where rewards are
equal; one number, the tie parameter, says how wide a labeler's indifference is. Knows formulas; does not know models,
batches or where the parameter is kept.

Dimension letters: P compared pairs, tied ones included. A gap is the first reward minus the second; unitless logits.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TieModel = Literal["davidson", "rao-kupper"]
TIE_MODELS: tuple[TieModel, ...] = ("davidson", "rao-kupper")
_SMALLEST_SHARE, _LARGEST_SHARE = 1e-3, 0.9


class Outcomes(NamedTuple):
    """Log-probabilities of what a labeler may say of each pair; the three add up to 1 once exponentiated.

    Attributes:
        first_P: (P,) the first is better, in nats.
        second_P: (P,) the second is better, in nats.
        tie_P: (P,) neither is, in nats.
    """

    first_P: Tensor
    second_P: Tensor
    tie_P: Tensor


def outcomes(gaps_P: Tensor, parameter: Tensor | float, model: TieModel) -> Outcomes:
    """Return the log-probabilities of the three outcomes of every pair.

    Args:
        gaps_P: (P,) gaps; unitless logits.
        parameter: () the tie parameter, any real number; as it falls to minus infinity, ties vanish and what is left
            is Bradley-Terry.
        model: whose.

    Source: Davidson 1970, "On extending the Bradley-Terry model to accommodate ties in paired comparison experiments",
    eq. 2.7, with nu = exp(parameter): P(tie) = nu sqrt(p q) / (p + q + nu sqrt(p q)), hence a softmax of gap / 2,
    -gap / 2 and the parameter. Rao and Kupper 1967, "Ties in paired-comparison experiments: a generalization of the
    Bradley-Terry model", eq. 2.4, with theta = exp(exp(parameter)): P(first) = p / (p + theta q).
    """
    gaps_P = gaps_P.float() if gaps_P.dtype != torch.float64 else gaps_P
    parameter = torch.as_tensor(parameter, dtype=gaps_P.dtype, device=gaps_P.device)
    if model == "davidson":
        logits_P3 = torch.stack([gaps_P / 2, -gaps_P / 2, parameter.expand_as(gaps_P)], dim=-1)
        return Outcomes(*F.log_softmax(logits_P3, dim=-1).unbind(-1))
    width = parameter.exp()
    first_P, second_P = F.logsigmoid(gaps_P - width), F.logsigmoid(-gaps_P - width)
    # theta^2 - 1 as a logarithm that neither overflows nor cancels.
    log_theta_squared_less_one = 2 * width + torch.log(-torch.expm1(-2 * width))
    return Outcomes(first_P, second_P, first_P + second_P + log_theta_squared_less_one)


def kwise_loss_with_ties(
    gaps_P: Tensor, tied_P: Tensor, weights_P: Tensor, parameter: Tensor | float, model: TieModel
) -> Tensor:
    """Weighted sum of the negative log-likelihoods of pairs, ties among them.

    Args:
        gaps_P: (P,) chosen minus rejected reward; of a tie, either order.
        tied_P: (P,) bool, True where the pair is a tie.
        weights_P: (P,) of each pair: one over the judgements, ties included, that its prompt has, so that every prompt
            weighs the same, over the number of prompts.
        parameter: see ``outcomes``.
        model: see ``outcomes``.

    Returns:
        () nats.
    """
    said = outcomes(gaps_P, parameter, model)
    return -(torch.where(tied_P, said.tie_P, said.first_P) * weights_P).sum()


def score_and_information(
    gaps_P: Tensor, tied_P: Tensor, weights_P: Tensor, parameter: float, model: TieModel
) -> tuple[float, float]:
    """Return the slope of the log-likelihood in the tie parameter, and its Fisher information; no gradient.

    Their quotient is one step of Fisher scoring towards the most likely parameter at these rewards. Arguments are
    those of ``kwise_loss_with_ties``; both figures add up over pairs, so that parts of a batch may be summed.
    """
    with torch.no_grad():
        gaps_P, weights_P = gaps_P.double(), weights_P.double()
        said = outcomes(gaps_P, parameter, model)
        tie_P = said.tie_P.exp()
        if model == "davidson":
            slope_P = tied_P.double() - tie_P
            information_P = tie_P * (1 - tie_P)
        else:
            # Slopes of the three log-probabilities in the width, times that of the width in the parameter.
            width = math.exp(parameter)
            first_P, second_P = said.first_P.exp(), said.second_P.exp()
            by_first_P, by_second_P = -width * (1 - first_P), -width * (1 - second_P)
            by_tie_P = width * (first_P + second_P + 2 / math.expm1(2 * width))
            slope_P = torch.where(tied_P, by_tie_P, by_first_P)
            information_P = first_P * by_first_P.square() + second_P * by_second_P.square() + tie_P * by_tie_P.square()
    return float((slope_P * weights_P).sum()), float((information_P * weights_P).sum())


def parameter_for(share: float, model: TieModel) -> float:
    """Return the tie parameter at which two equal completions tie with this probability: where training starts.

    Args:
        share: observed share of ties; brought into [0.001, 0.9], where the parameter is finite.
        model: see ``outcomes``.
    """
    share = min(max(share, _SMALLEST_SHARE), _LARGEST_SHARE)
    if model == "davidson":
        return math.log(2 * share / (1 - share))
    return math.log(2 * math.atanh(share))


def tie_share(gap: float, parameter: float, model: TieModel) -> float:
    """Return the probability of a tie at one gap; arguments as in ``outcomes``."""
    return math.exp(float(outcomes(torch.tensor([gap], dtype=torch.float64), parameter, model).tie_P))
