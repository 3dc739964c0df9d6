"""CUDA's part of vLLM's weight transfer, played on a CPU: a tensor's "address" is its bytes.

Six functions are replaced, on both sides; everything else of a transfer is vLLM's own. An
engine that is told to add ``Worker`` to its workers replaces them there.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from trainer.rollouts.engine_worker import PolicyReload

DEVICE_PLACE = 6
"""Of the arguments that rebuild a CUDA tensor; vLLM writes the receiver's device there."""


def reduce_tensor(tensor: Tensor) -> tuple[None, tuple[Any, ...]]:
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return None, (bytearray(raw), tuple(tensor.shape), tensor.dtype, None, None, None, "the sender's device")


def rebuild_tensor(*arguments: Any) -> Tensor:
    raw, shape, dtype = arguments[:3]
    assert arguments[DEVICE_PLACE] != "the sender's device"
    return torch.frombuffer(raw, dtype=dtype).reshape(shape)


def replacements() -> list[tuple[Any, str, Any]]:
    """What is put where: object, attribute, value."""
    from vllm.distributed.weight_transfer import ipc_engine

    return [
        (ipc_engine, "reduce_tensor", reduce_tensor),
        (ipc_engine, "rebuild_cuda_tensor", rebuild_tensor),
        (torch.cuda, "get_device_properties", lambda *_: SimpleNamespace(uuid="the CPU")),
        (torch.cuda, "ipc_collect", lambda: None),
        (torch.accelerator, "current_device_index", lambda: 0),
        (torch.accelerator, "synchronize", lambda *_: None),
    ]


class Worker(PolicyReload):
    """The product's additions, in a worker whose CUDA is played."""

    def end_with(self, trainer: int) -> None:
        for where, name, value in replacements():
            setattr(where, name, value)
        super().end_with(trainer)
