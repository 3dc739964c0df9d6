"""Two ways by which a policy's weights reach an engine in another process, verified alike.

``SharedMemory`` writes them to a file in memory that the worker reads: CPUs, and policies that are shared out over
processes. ``Native`` is vLLM's own weight transfer: on a GPU the worker opens the trainer's tensors where they lie
(CUDA IPC), and nothing is copied but into the engine's own layers. Both send a fingerprint of every tensor ahead, which
the worker compares with what arrived before it loads any (`trainer.rollouts.engine_worker`).

Knows vLLM 0.32's calls; does not know rollouts. **The native way has not run on a GPU**: its calls, their order and all
but the two functions that hand over CUDA memory are tested with vLLM's own classes on a CPU.
"""

from __future__ import annotations

import base64
import fcntl
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from safetensors.torch import save_file
from torch import nn

from trainer.rollouts.engine_worker import WEIGHTS

_PUSHES = "whetstone-push-"
_SETTLED_S = 60.0


class WeightTransfer(Protocol):
    """A way to an engine's workers."""

    def send(self, model: nn.Module, digests: dict[str, str]) -> list[int]:
        """Replace the engine's weights; return how many tensors each worker took.

        Args:
            model: plain, without adapters.
            digests: fingerprint of each of its parameters.

        Raises:
            Exception: whatever vLLM or a worker raised; the engine's weights are then not to be used.
        """
        ...


class SharedMemory:
    """A file in memory, written by the trainer and loaded in place by the worker.

    Args:
        engine: vLLM's.
        directory: where the file goes.
    """

    def __init__(self, engine: Any, directory: Path) -> None:
        self._engine, self._directory = engine, directory

    def send(self, model: nn.Module, digests: dict[str, str]) -> list[int]:
        """See ``WeightTransfer``."""
        tensors = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}
        save_file(tensors, self._directory / WEIGHTS, metadata={"format": "pt"})
        taken: list[int] = self._engine.collective_rpc("policy_reload", args=(str(self._directory), digests))
        return taken


class Native:
    """vLLM's weight transfer over CUDA IPC, for an engine in another process on the same GPU.

    Args:
        engine: vLLM's, started with what ``prepare_native`` says.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def send(self, model: nn.Module, digests: dict[str, str]) -> list[int]:
        """See ``WeightTransfer``."""
        from vllm.distributed.weight_transfer.base import ModuleSource
        from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory
        from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

        self._engine.collective_rpc("policy_expect", args=(digests,))
        sender = WeightTransferTrainerFactory.trainer_init(
            IPCTrainerInitInfo(rank=0), client=EngineClient(self._engine), source=ModuleSource(model)
        )
        sender.send_weights()
        sender.shutdown()
        taken: list[int] = self._engine.collective_rpc("policy_taken")
        return taken


class EngineClient:
    """vLLM's ``VLLMWeightSyncClient`` for an engine that this process started.

    Args:
        engine: vLLM's ``LLM``.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Prepare the workers."""
        self._engine.init_weight_transfer_engine({"init_info": init_info})

    def start_weight_update(self) -> None:
        """Have the workers empty their layers."""
        self._engine.start_weight_update()

    def update_weights(self, update_info: Mapping[str, Any]) -> None:
        """Hand over the tensors' addresses, pickled: the engine's own messages carry plain values only."""
        plain = {name: value for name, value in update_info.items() if name != "ipc_handles"}
        plain["ipc_handles_pickled"] = base64.b64encode(pickle.dumps(update_info["ipc_handles"])).decode()
        self._engine.update_weights({"update_info": plain})

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Have the workers finish their layers."""
        self._engine.finish_weight_update(weight_version)


def prepare_native() -> dict[str, Any]:
    """Return what an engine is started with so that weights can reach it the native way; sets two variables for it.

    vLLM sends addresses of CUDA memory pickled and reads the permission for that in both processes, whenever they
    talk; so it stays given. The engine must be a process of its own: none can open its own memory.
    """
    os.environ.update({"VLLM_ALLOW_INSECURE_SERIALIZATION": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "1"})
    from vllm.config import WeightTransferConfig

    return {"weight_transfer_config": WeightTransferConfig(backend="ipc")}


def own_directory(parent: Path | None = None) -> tuple[Path, int]:
    """Make a directory for pushed weights, and remove those that killed processes left: they are memory.

    Args:
        parent: where; the system's place for temporary files by default.

    Returns:
        The directory, and a descriptor whose lock says, for as long as this process lives, that somebody needs it.
    """
    place = parent or Path(tempfile.gettempdir())
    for left in place.glob(_PUSHES + "*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _SETTLED_S:  # its maker has had the time to lock it
                held = _lock(left)
                shutil.rmtree(left, ignore_errors=True)
                os.close(held)
    made = Path(tempfile.mkdtemp(prefix=_PUSHES, dir=place))
    return made, _lock(made)


def _lock(directory: Path) -> int:
    """Return a descriptor that holds the directory; an OSError says that another process does."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
