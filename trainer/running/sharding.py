"""Models of which each process holds a part: PyTorch's FSDP2 by transformer block, and the way there and back.

Parameters, gradients, optimizer state and weight averages of the blocks are split over the processes; embeddings, norms
and heads, which are used outside the blocks, stay whole in each, and their gradients are summed (`World`). Files hold
whole weights: every process keeps a plain twin of the model on the CPU, into which weights are pulled before they are
written and from which they are pushed after they were read. Knows modules, optimizers and processes; does not know
files.

Everything but ``shard`` leaves a model alone that was not sharded. All of it must be called by every process.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from feedback.errors import ConfigError
from trainer.maths.shards import local, spread, whole
from trainer.models.adapters import has_adapter
from trainer.running.distributed import World

_Model = TypeVar("_Model", bound=nn.Module)
_TWINS: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()


def shard(model: nn.Module, world: World) -> None:
    """Split the model's transformer blocks over the world's processes, if they share models; do so before optimizers.

    A block's parameters are gathered for its forward and backward pass and dropped after each; gradients are summed,
    not averaged, because losses are divided by the counts of the whole batch.

    Raises:
        ConfigError: the model has adapters, or no blocks that its architecture names.
    """
    if not world.sharded:
        return
    if has_adapter(model):
        raise ConfigError("--lora-rank does not go together with models shared out over processes")
    names = {name for module in model.modules() for name in getattr(module, "_no_split_modules", None) or ()}
    blocks = [module for module in model.modules() if type(module).__name__ in names]
    if not blocks:
        raise ConfigError(f"{type(model).__name__} does not name its blocks; it cannot be shared out over processes")
    _TWINS[model] = copy.deepcopy(model).to("cpu")
    mesh = init_device_mesh(world.device.type, (world.size,))
    for block in blocks:
        part = fully_shard(block, mesh=mesh, reshard_after_forward=True)
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)  # Gloo has no sum with a factor


@torch.no_grad()
def pull(model: _Model) -> _Model:
    """Return a plain model with these weights: the twin, or the model itself."""
    twin: Any = _TWINS.get(model)
    if twin is None:
        return model
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        _tensor(twin, name).copy_(whole(tensor))
    return twin  # type: ignore[no-any-return]


@torch.no_grad()
def push(model: nn.Module) -> None:
    """Give the model its twin's weights."""
    twin = _TWINS.get(model)
    if twin is None:
        return
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        local(tensor).copy_(local(spread(_tensor(twin, name), tensor)))


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Keep all blocks whole, so that processes may call the model as often as each likes; without gradients."""
    blocks = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for block in blocks:
        block.set_reshard_after_forward(False)
        block.unshard()
    try:
        yield
    finally:
        for block in blocks:
            block.set_reshard_after_forward(True)
            block.reshard()


class WholeOptimizer:
    """An optimizer's state as if no parameter were split: what checkpoints hold."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        """Gather the state as it is now."""
        self._optimizer = optimizer
        self._state: dict[str, Any] = whole(optimizer.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return the state, gathered when this object was made."""
        return self._state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Split a whole state as the parameters are and give it to the optimizer."""
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        entries = {
            number: {
                name: spread(entry, parameters[number]) if entry.shape == parameters[number].shape else entry
                for name, entry in found.items()
            }
            for number, found in state["state"].items()
        }
        self._optimizer.load_state_dict({**state, "state": entries})


def _tensor(module: nn.Module, name: str) -> torch.Tensor:
    path, _, last = name.rpartition(".")
    found: torch.Tensor = getattr(module.get_submodule(path), last)
    return found
