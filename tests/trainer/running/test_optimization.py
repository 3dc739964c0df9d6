"""Adam against a plain one, the schedule against its formula, and a step that clips and refuses NaN."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from feedback.errors import Diverged
from trainer.running.optimization import Schedule, adamw, guarded_step
from trainer.settings.stages import TrainingSettings


def settings(**changes: float) -> TrainingSettings:
    return TrainingSettings.model_validate({"output": Path("x"), "max_grad_norm": 0.0} | changes)


def test_five_steps_equal_a_plain_adam() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    weight = model.weight.detach().double().clone()
    optimizer = adamw(model, settings(), 0.01)
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    for number in range(1, 6):
        x = torch.randn(4, 3)
        loss = model(x).square().sum()
        loss.backward()
        gradient = model.weight.grad.double()
        first = 0.9 * first + 0.1 * gradient
        second = 0.95 * second + 0.05 * gradient**2
        # torch's convention: epsilon is added after the bias correction of the root.
        weight -= 0.01 * (first / (1 - 0.9**number)) / ((second / (1 - 0.95**number)).sqrt() + 1e-5)
        guarded_step(optimizer, model.parameters(), 0.0, loss=float(loss.detach()), stage="t", step=number)
    assert torch.allclose(model.weight.double(), weight, atol=1e-6)


def test_weight_decay_acts_on_matrices_only() -> None:
    groups = adamw(nn.Linear(3, 2), settings(weight_decay=0.1), 0.01).param_groups
    assert [(group["weight_decay"], [p.ndim for p in group["params"]]) for group in groups] == [(0.1, [2]), (0.0, [1])]


def test_cosine_falls_from_the_peak_to_a_tenth() -> None:
    shares = [Schedule(steps=11).share(step) for step in range(11)]
    assert shares[0] == 1.0
    assert math.isclose(shares[5], 0.55)
    assert math.isclose(shares[-1], 0.1)
    assert shares == sorted(shares, reverse=True)
    assert Schedule(steps=1).share(0) == 1.0


def test_warmup_rises_to_the_peak_first() -> None:
    shares = [Schedule(steps=20, warmup=4).share(step) for step in range(20)]
    assert shares[:5] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert math.isclose(shares[-1], 0.1)


def test_line_falls_straight_to_its_floor() -> None:
    schedule = Schedule(steps=11, floor=0.0, linear=True)
    assert [round(schedule.share(step), 6) for step in (0, 5, 10)] == [1.0, 0.5, 0.0]


def test_gradient_is_clipped_before_the_step() -> None:
    model = nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = model.weight.detach().clone()
    (1e4 * model(torch.ones(1, 3))).sum().backward()
    norm = guarded_step(optimizer, model.parameters(), 0.5, loss=1.0, stage="t", step=1)
    assert math.isclose(norm, 1e4 * math.sqrt(3), rel_tol=1e-4)
    assert float((model.weight - before).detach().norm()) <= 0.5 + 1e-6
    assert model.weight.grad is None


@pytest.mark.parametrize(("loss", "poison"), [(math.nan, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_loss_or_gradient_that_is_no_number_leaves_the_weights_alone(loss: float, poison: float) -> None:
    model = nn.Linear(3, 1)
    optimizer = adamw(model, settings(), 0.1)
    before = model.weight.detach().clone()
    (poison * model(torch.ones(1, 3))).sum().backward()
    with pytest.raises(Diverged, match=r"sft step 12: (loss|gradient norm) is"):
        guarded_step(optimizer, model.parameters(), 1.0, loss=loss, stage="sft", step=12)
    assert torch.equal(model.weight, before)
