"""Several processes that train as one: who each is, what they add up, and how all end when one is lost.

Every process reads the same data and takes the same decisions; only forward and backward passes are shared out. Each
divides its losses by the counts of the *whole* batch, gradients are summed, and then every process clips and steps
alike, so that N processes compute what one does, up to the order of floating-point sums. Only the main process writes
files. Knows processes, tensors and parameters; does not know losses, batches' contents or checkpoints.

Started by ``torchrun`` (it sets RANK, LOCAL_RANK and WORLD_SIZE); without it a process is alone and everything here is
the identity. Gloo joins processes on CPUs, NCCL on GPUs, one process a GPU.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from feedback.errors import PeerLost, StageFailed
from trainer.maths.shards import is_part

_Rows = TypeVar("_Rows", list[int], Tensor)
_CPU = torch.device("cpu")
_PR_SET_PDEATHSIG = 1
"""From <sys/prctl.h>: the signal that a process gets when its parent dies."""


@dataclass(frozen=True, slots=True)
class World:
    """The processes that work on one run, as one of them sees it.

    Attributes:
        rank: this process, from 0.
        size: how many there are.
        device: where this one's tensors live.
        sharded: whether models are split over the processes (`trainer.running.sharding`); else each holds them whole.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU
    sharded: bool = False

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes files and talks."""
        return self.rank == 0

    def share(self, rows: _Rows) -> tuple[_Rows, float]:
        """Return this process's part of one pass's rows, and the weight of its loss.

        Every ``size``-th row, from ``rank`` on, so that rows sorted by length are shared out evenly. Where there are
        fewer rows than processes, the rest run the first row with weight 0: the same passes on every process, and a
        gradient for the same parameters, whatever the number of rows.
        """
        mine = rows[self.rank :: self.size]
        return (mine, 1.0) if len(mine) else (rows[:1], 0.0)

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of every process's tensor, the same bits in each process; shapes must agree."""
        return self._reduced(tensor, dist.ReduceOp.SUM)

    def max(self, tensor: Tensor) -> Tensor:
        """Return the entrywise maximum of every process's tensor."""
        return self._reduced(tensor, dist.ReduceOp.MAX)

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean of every process's tensor, each weighing the same."""
        return self.sum(tensor) / self.size

    def totals(self, *figures: float) -> list[float]:
        """Return each number's sum over processes, added in float64."""
        if self.size == 1:
            return list(figures)
        totals: list[float] = self.sum(torch.tensor(figures, dtype=torch.float64)).tolist()
        return totals

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over processes: one collective for all of them.

        Gradients of which each process holds a part are sums already.
        """
        gradients = [p.grad for p in parameters if p.grad is not None and not is_part(p.grad)]
        if self.size == 1 or not gradients:
            return
        flat = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            self.totals(0.0)

    def gather_objects(self, value: Any) -> list[Any]:
        """Return every process's value in order of rank, in each process; values are pickled, so keep them small."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        with _peers():
            dist.all_gather_object(found, value)
        return found

    def broadcast_object(self, value: Any) -> Any:
        """Return the main process's value in each process."""
        if self.size == 1:
            return value
        found = [value]
        with _peers():
            dist.broadcast_object_list(found, src=0)
        return found[0]

    def require_equal(self, tensors: Mapping[str, Tensor], what: str) -> None:
        """Check that a tensor has the same bits in every process.

        Args:
            tensors: by name; the same names in every process.
            what: they are, for the message.

        Raises:
            StageFailed: one differs: processes have drifted apart, and no result of theirs can be trusted.
        """
        if self.size == 1:
            return
        first, *others = self.gather_objects({name: _digest(tensor) for name, tensor in tensors.items()})
        for rank, digests in enumerate(others, start=1):
            odd = sorted(name for name in first.keys() | digests.keys() if first.get(name) != digests.get(name))
            if odd:
                raise StageFailed(f"{what} of process {rank} differ from those of process 0, first in {odd[0]}")

    def _reduced(self, tensor: Tensor, operation: Any) -> Tensor:
        if self.size == 1:
            return tensor
        reduced = tensor.detach().to(self.device, copy=True).contiguous()
        with _peers():
            dist.all_reduce(reduced, op=operation)
        return reduced.to(tensor.device)


ALONE = World()
"""The world of a process that nobody shares its work with."""


def world_size() -> int:
    """Return how many processes the launcher started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Return whether this process writes and talks, before any world is joined."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def join(device: torch.device, timeout_s: float, *, shard: bool = False) -> Iterator[World]:
    """Yield the world that the launcher made, joined; leave it when all is done.

    One that this process has joined before is yielded as it is, and left by who joined it.

    Args:
        device: ``cpu``, or ``cuda``, of which each process takes the one with its local number.
        timeout_s: longest wait for another process.
        shard: split models over processes on CPUs too; on GPUs they always are.

    Raises:
        PeerLost: the others did not come.
    """
    if world_size() == 1:
        yield World(device=device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    sharded = shard or device.type == "cuda"
    world = World(rank=int(os.environ["RANK"]), size=world_size(), device=device, sharded=sharded)
    if dist.is_initialized():
        yield world
        return
    _end_with_launcher()
    with _peers():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(seconds=timeout_s))
    # After an error nobody waits for anybody: this process ends, its connections close, and the launcher ends the rest.
    yield world
    # Gloo's threads still hold the last collective's tensors, and one that frees them while the interpreter ends aborts
    # the process. Meeting once more, with nothing in hand, gives them the time and the interpreter's lock.
    with _peers():
        dist.barrier()
    dist.destroy_process_group()


@contextmanager
def _peers() -> Iterator[None]:
    """Say of a broken connection or a wait that took too long what it means."""
    try:
        yield
    except RuntimeError as error:  # DistBackendError is one; so are closed connections
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PeerLost(f"another process of this run ended or does not answer ({first[:160]})") from error


def _digest(tensor: Tensor) -> tuple[int, int]:
    """Two sums over a tensor's bits, the second weighted by position: cheap, and equal only by accident otherwise."""
    bits = tensor.detach().contiguous().view(torch.uint8 if tensor.element_size() == 1 else _INTEGERS[tensor.dtype])
    flat = bits.flatten().long()
    weights = torch.arange(1, flat.numel() + 1, device=flat.device) % 65521
    return int(flat.sum()), int((flat * weights).sum())


_INTEGERS = {
    torch.float32: torch.int32,
    torch.float64: torch.int64,
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.int64: torch.int64,
    torch.int32: torch.int32,
}


def _end_with_launcher() -> None:
    """Have the kernel end this process when the launcher dies: nobody else would."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
