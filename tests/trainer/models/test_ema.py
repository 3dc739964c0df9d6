"""The parameter average against its closed form, and its state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.models.ema import ParameterAverage


def test_after_n_updates_the_average_equals_the_closed_form() -> None:
    model = nn.Linear(3, 2)
    average = ParameterAverage(model, decay=0.9)
    history = [model.weight.detach().clone()]
    for step in range(5):
        with torch.no_grad():
            model.weight += torch.randn(2, 3, generator=torch.Generator().manual_seed(step))
        history.append(model.weight.detach().clone())
        average.update(model)
    expected = 0.9**5 * history[0] + sum(0.1 * 0.9 ** (5 - k) * history[k] for k in range(1, 6))
    assert torch.allclose(average.state_dict()["weight"], expected, atol=1e-6)


def test_the_average_is_float32_whatever_the_model_is() -> None:
    model = nn.Linear(3, 2, dtype=torch.bfloat16)
    average = ParameterAverage(model, decay=0.5)
    assert average.state_dict()["weight"].dtype == torch.float32
    average.copy_to(model)
    assert model.weight.dtype == torch.bfloat16


def test_copying_out_overwrites_the_model_and_nothing_of_the_average_is_trainable() -> None:
    model = nn.Linear(2, 2)
    average = ParameterAverage(model, decay=0.5)
    before = model.weight.detach().clone()
    nn.init.zeros_(model.weight)
    average.copy_to(model)
    assert torch.equal(model.weight, before)
    assert not any(tensor.requires_grad for tensor in average.state_dict().values())


def test_a_state_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="another model"):
        ParameterAverage(nn.Linear(2, 2), 0.5).load_state_dict(ParameterAverage(nn.Embedding(2, 2), 0.5).state_dict())


def test_a_restored_average_goes_on_as_if_never_saved() -> None:
    model = nn.Linear(2, 2)
    first, second = ParameterAverage(model, 0.7), ParameterAverage(model, 0.7)
    with torch.no_grad():
        model.weight += 1.0
    first.update(model)
    second.load_state_dict(first.state_dict())
    first.update(model)
    second.update(model)
    assert torch.equal(first.state_dict()["weight"], second.state_dict()["weight"])
