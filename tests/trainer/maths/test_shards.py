"""Parts of tensors: the identity for plain ones; norms and clipping as PyTorch's own."""

import pytest
import torch
from torch import nn

from trainer.maths.shards import clip_gradient, gradient_norm, is_part, local, spread, whole


def model() -> nn.Linear:
    torch.manual_seed(0)
    made = nn.Linear(4, 3)
    made(torch.ones(2, 4)).square().sum().backward()
    return made


def test_plain_tensors_are_left_as_they_are() -> None:
    tensor = torch.arange(3.0)
    assert not is_part(tensor)
    assert local(tensor) is tensor
    assert spread(tensor, torch.zeros(3)) is tensor
    nested = {"a": tensor, "b": [tensor, 1], "c": "x"}
    same = whole(nested)
    assert same == nested
    assert same["b"][0] is tensor


@pytest.mark.parametrize("max_norm", [0.5, 1e9])
def test_norm_and_clipping_are_pytorchs(max_norm: float) -> None:
    ours, theirs = model(), model()
    expected = nn.utils.clip_grad_norm_(theirs.parameters(), max_norm)
    assert torch.equal(gradient_norm(ours.parameters()), expected)
    assert torch.equal(clip_gradient(ours.parameters(), max_norm), expected)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        assert torch.equal(mine.grad, other.grad)


def test_an_infinite_bound_only_measures() -> None:
    ours = model()
    before = [p.grad.clone() for p in ours.parameters() if p.grad is not None]
    norm = clip_gradient(ours.parameters(), float("inf"))
    assert norm == gradient_norm(ours.parameters())
    assert all(torch.equal(p.grad, old) for p, old in zip(ours.parameters(), before, strict=True) if p.grad is not None)
