"""One run of a stage: its unfinished directory, what it may resume, and its atomic end.

A run works beside its output until everything is complete (see ``workspace``), so that a reader finds a whole
directory or none. Knows processes, threads and settings; does not know what stages compute.
"""

from __future__ import annotations

import ctypes
import io
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import nn

from feedback.artifacts import sync
from feedback.errors import ConfigError, RunFinished
from trainer.maths.shards import whole
from trainer.running import workspace
from trainer.running.checkpoint import Resumed, latest_checkpoint, load_checkpoint, save_checkpoint
from trainer.running.distributed import ALONE, World, join, world_size
from trainer.running.identity import identity
from trainer.running.layout import BAD_BATCHES_FILE, CHECKPOINTS, METRICS_LOG, partial_directory, working_directory
from trainer.running.randomness import seed_everything
from trainer.running.sharding import WholeOptimizer, pull, push
from trainer.running.space import checkpoint_bytes, explained, require_room
from trainer.running.stopping import Stop
from trainer.settings.stages import StageSettings, TrainingSettings

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # names and numbers of glibc's malloc.h


class Run:
    """An unfinished run; made by ``open_run``.

    Attributes:
        directory: where the stage writes; becomes ``output`` when ``finish`` is called.
        output: the final place.
        device: where tensors live.
        world: the processes that work on this run; only its main one writes into ``directory``.
        stop: whether this process was told to end.
    """

    def __init__(
        self,
        stage: str,
        settings: StageSettings,
        directory: Path,
        device: torch.device,
        world: World = ALONE,
        stop: Stop | None = None,
    ) -> None:
        """Bind the stage's name and settings to its directory."""
        self.stage = stage
        self.settings = settings
        self.directory = directory
        self.output = settings.output
        self.device = device
        self.world = world
        self.stop = stop or Stop()
        self._started_s = time.monotonic()

    @property
    def own_directory(self) -> Path | None:
        """The directory for the process that writes into it, None for the others."""
        return self.directory if self.world.main else None

    @property
    def stream(self) -> TextIO | None:
        """Where this process shows its progress: None, the default, for the main one, else nowhere."""
        return None if self.world.main else io.StringIO()

    @property
    def checkpoints(self) -> Path:
        """Directory of the checkpoints; removed when the run finishes."""
        return working_directory(self.output) / CHECKPOINTS

    @property
    def stopping(self) -> bool:
        """Whether this run was told to end: any of its processes, so that all stop after the same step."""
        return self.world.totals(float(self.stop.asked))[0] > 0

    def latest_checkpoint(self, *, good_only: bool = False, before: int | None = None) -> Path | None:
        """The newest whole checkpoint of this run, if it was interrupted; the same one for every process.

        Args:
            good_only: pass over those that were written while something was wrong.
            before: pass over those of this step and later ones.
        """
        found: Path | None = self.world.broadcast_object(
            latest_checkpoint(self.checkpoints, good_only=good_only, before=before) if self.world.main else None
        )
        return found

    def drop_checkpoints(self, *, after: int) -> None:
        """Remove the checkpoints of later steps, once every process has read the one that the run goes back to."""
        self.world.barrier()
        if self.world.main:
            for path in self.checkpoints.glob("step-*"):
                if int(path.name.removeprefix("step-")) > after:
                    shutil.rmtree(path, ignore_errors=True)
        self.world.barrier()

    def save_checkpoint(
        self,
        step: int,
        *,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        **rest: Any,
    ) -> None:
        """Check that every process has the same weights, write a checkpoint (see ``checkpoint.save_checkpoint``), wait.

        Lines of the logs are on disk before the checkpoint that is after them.

        Raises:
            StageFailed: processes have drifted apart; nothing is written.
            Exception: what kept the main process from writing, the same in every process, so that all do the same.
        """
        modules = {name: pull(module) for name, module in modules.items()}
        states: dict[str, Any] = {name: WholeOptimizer(optimizer) for name, optimizer in optimizers.items()}
        rest = whole(rest)
        for name, module in modules.items():
            self.world.require_equal(dict(module.named_parameters()), f"the {name}'s weights at step {step}")
        failed: Exception | None = None
        if self.world.main:
            try:
                for log in (METRICS_LOG, BAD_BATCHES_FILE):
                    if (self.directory / log).exists():
                        sync(self.directory / log)
                save_checkpoint(self.checkpoints, step, modules=modules, optimizers=states, **rest)
            except Exception as error:
                failed = error
        if (failed := self.world.broadcast_object(failed)) is not None:
            raise failed

    def resume(
        self,
        *,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        good_only: bool = False,
        before: int | None = None,
    ) -> Resumed | None:
        """Put back the newest whole checkpoint and drop those after it; None, and nothing changed, when there is none.

        Args:
            modules: by the names that they were saved under.
            optimizers: likewise.
            good_only: pass over checkpoints that were written while something was wrong.
            before: pass over those of this step and later ones.

        Raises:
            DiskFull: there is no room for the checkpoints to come.
        """
        if self.world.main and getattr(self.settings, "checkpoint_every", False):
            require_room(self.checkpoints, checkpoint_bytes(modules, optimizers))
        path = self.latest_checkpoint(good_only=good_only, before=before)
        if path is None:
            return None
        states: dict[str, Any] = {name: WholeOptimizer(optimizer) for name, optimizer in optimizers.items()}
        twins = {name: pull(module) for name, module in modules.items()}
        found = load_checkpoint(path, modules=twins, optimizers=states, verified=True)
        for module in modules.values():
            push(module)
        self.drop_checkpoints(after=found.step)
        return found

    def finish(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Write ``metrics.json``, publish the directory, and drop what only an unfinished run needs.

        Returns:
            The metrics, with the stage's name and wall time added.
        """
        metrics = {"stage": self.stage, "wall_s": round(time.monotonic() - self._started_s, 3)} | metrics
        if self.world.main:
            workspace.seal(self.output, metrics)
            workspace.conclude(self.output)
        self.world.barrier()
        return metrics


@contextmanager
def open_run(stage: str, settings: StageSettings, inputs: Sequence[Path] = ()) -> Iterator[Run]:
    """Yield a run that starts, or that goes on where the same run was interrupted; sets seeds and threads.

    Args:
        stage: the command's name.
        settings: resolved settings, written to ``settings.json``.
        inputs: data files and directories of models; a run is the same only if their bytes are.

    Raises:
        RunFinished: this very run has ended; its output is there, and its metrics are in the exception.
        ArtifactError: the output exists and is not empty, another run's unfinished directory is in the way, or
            another process is at work on it.
        ConfigError: the device is not there, or the stage does not run in several processes.
        DiskFull: the disk filled up; the run can go on when there is room.
        PeerLost: another process of this run ended.
    """
    timeout_s, shard = 0.0, False
    if isinstance(settings, TrainingSettings):
        timeout_s, shard = settings.peer_timeout_s, settings.shard
    with Stop() as stop, join(prepare(settings), timeout_s, shard=shard) as world, ExitStack() as held:
        ended: tuple[str, dict[str, Any]] | None = None
        if world.main:
            held.enter_context(explained(settings.output))
            this = identity(stage, settings, inputs, processes=world.size, device=world.device)
            try:
                held.enter_context(workspace.owned(settings.output, this))
            except RunFinished as error:
                ended = str(error), error.metrics
        if (ended := world.broadcast_object(ended)) is not None:
            raise RunFinished(*ended)
        yield Run(stage, settings, partial_directory(settings.output), world.device, world, stop)


def prepare(settings: StageSettings) -> torch.device:
    """Set threads and seed; return the device that the settings name.

    Raises:
        ConfigError: the device is not there, or the stage does not run in several processes.
    """
    if world_size() > 1 and not isinstance(settings, TrainingSettings):
        raise ConfigError("only stages that train run in several processes; start this one without torchrun")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    seed_everything(settings.seed)
    _keep_freed_memory()
    wanted = settings.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: this machine has no usable GPU; use --device cpu")
    if wanted == "cpu":
        # Sums over repeated indices are otherwise shared out between threads, in whatever order they come.
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # a property of the module
    return torch.device(wanted)


def _keep_freed_memory() -> None:
    """Tell glibc not to hand big blocks back to the kernel after every use: a fifth of the time of a small step."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
