"""Checkpoints that a killed run resumes from bit for bit, and the atomic end of a run's directory.

Knows the state of modules, optimizers and generators, and that files must be on disk before they are named; does
not know what a stage does with its cursor. A checkpoint is a directory that is whole or absent, with a manifest.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn

from feedback import artifacts
from feedback.errors import ArtifactCorrupt, ArtifactError

_KEPT_CHECKPOINTS = 2


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` atomically by ``value`` as JSON; non-finite numbers become null."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(_finite(value), indent=2, sort_keys=True, default=str) + "\n")
    artifacts.sync(partial)
    partial.replace(path)


def publish(scratch: Path, target: Path) -> None:
    """Rename a finished directory to its final name after a manifest was written and all is on disk."""
    artifacts.write_manifest(scratch)
    for path in scratch.rglob("*"):
        artifacts.sync(path)
    artifacts.sync(scratch)
    scratch.rename(target)
    artifacts.sync(target.parent)


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """What a checkpoint held besides the state of modules, optimizers and generators.

    Attributes:
        step: optimizer steps (or iterations) done.
        state: the stage's own cursor: plain JSON values.
        tensors: the stage's own tensors.
    """

    step: int
    state: dict[str, Any]
    tensors: dict[str, Tensor]


def save_checkpoint(
    root: str | Path,
    step: int,
    *,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    state: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
    generators: Mapping[str, torch.Generator] | None = None,
) -> Path:
    """Write ``root/step-N`` atomically and remove all but the newest two; torch's own generators are included.

    Args:
        root: directory of the run's checkpoints.
        step: optimizer steps (or iterations) done.
        modules: whose weights and buffers to keep, by name.
        optimizers: by name.
        state: the stage's cursor: JSON values only.
        tensors: more tensors, by name.
        generators: random generators other than torch's default ones.

    Returns:
        The checkpoint's directory.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    target = root / f"step-{step:08d}"
    shutil.rmtree(target, ignore_errors=True)
    with artifacts.new_directory(target) as scratch:
        for name, module in modules.items():
            save_model(module, str(scratch / f"{name}.safetensors"))
        save_file({name: value.detach().contiguous() for name, value in (tensors or {}).items()}, scratch / "tensors")
        random = {"torch": torch.get_rng_state()} | {
            f"generator.{name}": generator.get_state() for name, generator in (generators or {}).items()
        }
        if torch.cuda.is_available():
            random |= {f"cuda.{index}": value for index, value in enumerate(torch.cuda.get_rng_state_all())}
        torch.save({name: optimizer.state_dict() for name, optimizer in optimizers.items()}, scratch / "optimizers.pt")
        torch.save(random, scratch / "random.pt")
        write_json(scratch / "state.json", {"step": step, "state": dict(state or {})})
    for old in sorted(root.glob("step-*"))[:-_KEPT_CHECKPOINTS]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def latest_checkpoint(root: str | Path) -> Path | None:
    """Return the newest checkpoint that matches its manifest, or None; torn ones are passed over."""
    for candidate in sorted(Path(root).glob("step-*"), reverse=True):
        try:
            artifacts.verify(candidate)
        except ArtifactError:
            continue
        return candidate
    return None


def load_checkpoint(
    path: str | Path,
    *,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    generators: Mapping[str, torch.Generator] | None = None,
) -> Resumed:
    """Put back what ``save_checkpoint`` wrote, into objects built the same way.

    Raises:
        ArtifactError: the checkpoint is incomplete, corrupt or of another run.
    """
    path = Path(path)
    artifacts.verify(path)
    try:
        for name, module in modules.items():
            load_model(module, path / f"{name}.safetensors")
        saved = torch.load(path / "optimizers.pt", weights_only=True)
        random = torch.load(path / "random.pt", weights_only=True)
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(saved[name])
        for name, generator in (generators or {}).items():
            generator.set_state(random[f"generator.{name}"])
    except (KeyError, RuntimeError, ValueError, FileNotFoundError) as error:
        raise ArtifactCorrupt(f"{path}: does not fit this run: {error}") from error
    torch.set_rng_state(random["torch"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all([random[key] for key in sorted(random) if key.startswith("cuda.")])
    described = json.loads((path / "state.json").read_text())
    return Resumed(step=described["step"], state=described["state"], tensors=load_file(path / "tensors"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
