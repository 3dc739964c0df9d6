"""Tensors of which each process holds a part, beside plain ones that each holds whole: parts, wholes, norms, clipping.

Knows PyTorch's distributed tensors; does not know models, optimizers or who the processes are. Everything here is the
identity, or what PyTorch does, where no tensor is distributed. A function that says *together* must be called by every
process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def is_part(tensor: Tensor) -> bool:
    """Return whether this process holds only a part of the tensor."""
    return isinstance(tensor, DTensor)


def local(tensor: Tensor) -> Tensor:
    """Return this process's part, in the same memory; a plain tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(value: Any) -> Any:
    """Return nested mappings and lists with every part made whole, on the CPU; together."""
    if isinstance(value, DTensor):
        with torch.no_grad():
            return value.full_tensor().cpu()
    if isinstance(value, Mapping):
        return {key: whole(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [whole(entry) for entry in value]
    return value


def spread(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor as parts laid out as those of ``like``, which has its shape; together."""
    if not isinstance(like, DTensor) or isinstance(tensor, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device, like.dtype), like.device_mesh, like.placements)


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return () the norm of all gradients, those of parts counted over all processes; together."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    plain = [gradient for gradient in gradients if not is_part(gradient)]
    parts = [gradient for gradient in gradients if is_part(gradient)]
    if not parts:
        return nn.utils.get_total_norm(plain)
    norm: Tensor = whole(nn.utils.get_total_norm(parts)).to(parts[0].device)
    return (norm.square() + nn.utils.get_total_norm(plain).to(norm.device).square()).sqrt()


def clip_gradient(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale the gradients down to a norm of at most ``max_norm``; return () the norm that they had; together."""
    parameters = list(parameters)
    norm = gradient_norm(parameters)
    gradients = [local(p.grad) for p in parameters if p.grad is not None]
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm
