"""One run of a stage: its unfinished directory, what it may resume, and its atomic end.

A run works in ``<output>.partial`` and renames it to ``<output>`` when everything in it is complete, so that a
reader finds a whole directory or none. Knows directories, locks and settings; does not know what stages compute.
"""

from __future__ import annotations

import ctypes
import fcntl
import io
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, TextIO

import torch
from torch import nn

from feedback.artifacts import sha256_of
from feedback.errors import ArtifactError, ConfigError
from trainer.running.checkpoint import latest_checkpoint, publish, save_checkpoint, write_json
from trainer.running.distributed import ALONE, World, join, world_size
from trainer.running.layout import CHECKPOINTS, METRICS_FILE, SETTINGS_FILE, partial_directory
from trainer.settings.stages import StageSettings, TrainingSettings

_LOCK = ".lock"
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # names and numbers of glibc's malloc.h


class Run:
    """An unfinished run; made by ``open_run``.

    Attributes:
        directory: where the stage writes; becomes ``output`` when ``finish`` is called.
        output: the final place.
        device: where tensors live.
        world: the processes that work on this run; only its main one writes into ``directory``.
    """

    def __init__(
        self, stage: str, settings: StageSettings, directory: Path, device: torch.device, world: World = ALONE
    ) -> None:
        """Bind the stage's name and settings to its directory."""
        self.stage = stage
        self.settings = settings
        self.directory = directory
        self.output = settings.output
        self.device = device
        self.world = world
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
        return self.directory / CHECKPOINTS

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

    def save_checkpoint(
        self,
        step: int,
        *,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        **rest: Any,
    ) -> None:
        """Check that every process has the same weights, write a checkpoint (see ``checkpoint.save_checkpoint``), wait.

        Raises:
            StageFailed: processes have drifted apart; nothing is written.
        """
        for name, module in modules.items():
            self.world.require_equal(dict(module.named_parameters()), f"the {name}'s weights at step {step}")
        if self.world.main:
            save_checkpoint(self.checkpoints, step, modules=modules, optimizers=optimizers, **rest)
        self.world.barrier()

    def finish(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Write ``metrics.json``, drop what only an unfinished run needs, and publish the directory.

        Returns:
            The metrics, with the stage's name and wall time added.
        """
        metrics = {"stage": self.stage, "wall_s": round(time.monotonic() - self._started_s, 3)} | metrics
        if self.world.main:
            write_json(self.directory / METRICS_FILE, metrics)
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            (self.directory / _LOCK).unlink(missing_ok=True)
            publish(self.directory, self.output)
        self.world.barrier()
        return metrics


@contextmanager
def open_run(stage: str, settings: StageSettings, inputs: Sequence[Path] = ()) -> Iterator[Run]:
    """Yield a run that starts, or that goes on where the same run was interrupted; seeds torch and sets threads.

    Args:
        stage: the command's name.
        settings: resolved settings, written to ``settings.json``.
        inputs: data files; a run is the same only if their bytes are.

    Raises:
        ArtifactError: the output exists and is not empty, another run's unfinished directory is in the way, or
            another process is at work on it.
        ConfigError: the device is not there, or the stage does not run in several processes.
        PeerLost: another process of this run ended.
    """
    timeout_s = settings.peer_timeout_s if isinstance(settings, TrainingSettings) else 0.0
    with join(prepare(settings), timeout_s) as world:
        directory = partial_directory(settings.output)
        with _owned(directory, stage, settings, inputs) if world.main else nullcontext():
            world.barrier()
            yield Run(stage, settings, directory, world.device, world)


@contextmanager
def _owned(directory: Path, stage: str, settings: StageSettings, inputs: Sequence[Path]) -> Iterator[None]:
    """Hold the directory of an unfinished run against other processes, after checking that it is this run's."""
    output = settings.output
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ArtifactError(f"--output {output}: exists and is not empty; remove it or choose another directory")
    identity = _identity(stage, settings, inputs)
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / _LOCK).open("w") as lock:
        _hold(lock, directory)
        _claim(directory, identity)
        yield


def prepare(settings: StageSettings) -> torch.device:
    """Set threads and seed; return the device that the settings name.

    Raises:
        ConfigError: the device is not there, or the stage does not run in several processes.
    """
    if world_size() > 1 and not isinstance(settings, TrainingSettings):
        raise ConfigError("only stages that train run in several processes; start this one without torchrun")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    _keep_freed_memory()
    wanted = settings.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: this machine has no usable GPU; use --device cpu")
    return torch.device(wanted)


def _keep_freed_memory() -> None:
    """Tell glibc not to hand big blocks back to the kernel after every use: a fifth of the time of a small step."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _identity(stage: str, settings: StageSettings, inputs: Sequence[Path]) -> dict[str, Any]:
    hashes = {str(path): sha256_of(path) for path in inputs if path.is_file()}
    return {"stage": stage, "settings": json.loads(settings.model_dump_json()), "inputs": hashes}


def _hold(lock: IO[str], directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ArtifactError(f"{directory}: another process is at work on this run; wait for it") from error
    lock.write(f"{os.getpid()}\n")
    lock.flush()


def _claim(directory: Path, identity: dict[str, Any]) -> None:
    """Write the run's identity, or check that what is there is this very run."""
    path = directory / SETTINGS_FILE
    if not path.exists():
        strangers = [entry.name for entry in directory.iterdir() if entry.name != _LOCK]
        if strangers:
            raise ArtifactError(f"{directory}: holds {strangers[0]} and is no unfinished run; remove it")
        write_json(path, identity)
        return
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ArtifactError(f"{path}: unreadable; remove {directory}") from error
    if found != identity:
        raise ArtifactError(
            f"{directory}: an unfinished run with other {_difference(found, identity)}; "
            "start it again with those, or remove it"
        )


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    if found.get("stage") != wanted["stage"]:
        return f"stage ({found.get('stage')})"
    if found.get("inputs") != wanted["inputs"]:
        return "input data"
    old, new = found.get("settings", {}), wanted["settings"]
    changed = [f"--{key.replace('_', '-')} {old.get(key)}" for key in new if old.get(key) != new[key]]
    return "settings (" + ", ".join(changed) + ")"
