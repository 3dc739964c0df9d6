"""An exponential moving average of a model's parameters, kept in float32 beside the optimizer.

Knows tensors by name; does not know when an iteration ends (the loop says so, once) nor how weights are saved.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from trainer.maths.shards import local, spread


class ParameterAverage:
    """The average of the parameters after each iteration, begun at their initial values.

    Args:
        model: whose trainable parameters are followed (frozen ones cannot move); tied ones are kept once.
        decay: weight of the past in one update; 0 follows the model exactly. 0.992 in the paper.

    Source: Ouyang et al. 2022, arXiv:2203.02155, appendix C.4 ("exponential moving average of the weights").
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"EMA decay {decay} must be at least 0 and below 1")
        self._decay = decay
        self._average = {name: p.detach().float().clone() for name, p in _followed(model)}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move every average (1 - decay) of the way to the model's present parameter."""
        present = [local(p.detach()).float() for _, p in _followed(model)]
        torch._foreach_lerp_([local(each) for each in self._average.values()], present, 1.0 - self._decay)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Overwrite the model's parameters with their averages, in the model's own dtype."""
        for name, parameter in _followed(model):
            parameter.copy_(self._average[name])

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        return dict(self._average)

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take averages back.

        Raises:
            ValueError: the names are not this model's.
        """
        if state.keys() != self._average.keys():
            odd = sorted(state.keys() ^ self._average.keys())[:3]
            raise ValueError(f"the saved average belongs to another model; names that differ begin with {odd}")
        for name, tensor in state.items():
            self._average[name].copy_(spread(tensor, self._average[name]))


def _followed(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)
