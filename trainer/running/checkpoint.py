"""Checkpoints that a killed run resumes from bit for bit.

Knows the state of modules, optimizers and random generators, and that files must be on disk before they are named;
does not know what a stage does with its cursor. A checkpoint is a directory that is whole or absent, with a manifest.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor, nn

from feedback import artifacts
from feedback.errors import ArtifactCorrupt, ArtifactError, Diverged
from trainer.models.adapters import trained_part
from trainer.running.randomness import random_state, restore_random_state

_KEPT_CHECKPOINTS = 2
_KEPT_GOOD = 2
"""The newest good one was written before its weights were measured; if that shows a fault, the one before is good."""
_TENSORS, _STATE = "tensors.pt", "state.json"


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` atomically by ``value`` as JSON; non-finite numbers become null."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(_finite(value), indent=2, sort_keys=True, default=str) + "\n")
        artifacts.sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


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
    good: bool = True,
) -> Path:
    """Write ``root/step-N`` atomically; remove all but the newest two and the newest two good ones.

    Every byte is hashed as it is written and read no second time. The global generators of Python, NumPy and torch,
    on every device, are included.

    Args:
        root: directory of the run's checkpoints.
        step: optimizer steps (or iterations) done.
        modules: whose weights and buffers to keep, by name; tied ones are kept once, frozen ones not at all.
        optimizers: by name.
        state: the stage's cursor: JSON values only.
        tensors: more tensors, by name.
        generators: random generators other than the global ones.
        good: whether a run that went wrong may go back to this one; a killed run resumes from any.

    Returns:
        The checkpoint's directory.

    Raises:
        Diverged: a tensor holds a number that is not finite; nothing is written then.
        OSError: a write or an fsync failed; the draft is removed, earlier checkpoints stay.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    target, draft = root / f"step-{step:08d}", root / f".step-{step:08d}"
    content = {
        "modules": {name: trained_part(module).state_dict() for name, module in modules.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
        "tensors": dict(tensors or {}),
    }
    _require_finite(content, step)
    content["random"] = random_state(generators or {})
    described = {"step": step, "good": good, "state": _finite(dict(state or {}))}
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        sums = {_TENSORS: _write_tensors(draft / _TENSORS, content)}
        (draft / _STATE).write_text(json.dumps(described, sort_keys=True) + "\n")
        artifacts.write_manifest(draft, sums)
        for path in (*draft.iterdir(), draft):
            artifacts.sync(path)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        artifacts.sync(root)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _remove_old(root)
    return target


def latest_checkpoint(root: str | Path, *, good_only: bool = False, before: int | None = None) -> Path | None:
    """Return the newest checkpoint that matches its manifest, or None; torn ones are passed over.

    Args:
        root: directory of the run's checkpoints.
        good_only: pass over those that were written while something was wrong.
        before: pass over those of this step and later ones.
    """
    for candidate in sorted(Path(root).glob("step-*"), reverse=True):
        if before is not None and int(candidate.name.removeprefix("step-")) >= before:
            continue
        try:
            artifacts.verify(candidate)
        except ArtifactError:
            continue
        if not good_only or _is_good(candidate):
            return candidate
    return None


def load_checkpoint(
    path: str | Path,
    *,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    generators: Mapping[str, torch.Generator] | None = None,
    verified: bool = False,
) -> Resumed:
    """Put back what ``save_checkpoint`` wrote, into objects built the same way.

    Args:
        path: the checkpoint's directory.
        modules: by the names that they were saved under, as all others.
        optimizers: likewise.
        generators: likewise.
        verified: its bytes were compared with the manifest a moment ago (``latest_checkpoint`` does).

    Raises:
        ArtifactError: the checkpoint is incomplete, corrupt or of another run.
    """
    path = Path(path)
    if not verified:
        artifacts.verify(path)
    try:
        saved = torch.load(path / _TENSORS, map_location="cpu", weights_only=True)
        described = json.loads((path / _STATE).read_text())
        for name, module in modules.items():
            trained_part(module).load_state_dict(saved["modules"][name])
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(saved["optimizers"][name])
        restore_random_state(saved["random"], generators or {})
        return Resumed(step=described["step"], state=described["state"], tensors=saved["tensors"])
    except (KeyError, RuntimeError, ValueError, FileNotFoundError) as error:
        raise ArtifactCorrupt(f"{path}: does not fit this run: {error}") from error


class _Hashed:
    """An open file that sums up what goes into it and keeps its error, which ``torch.save`` hides behind its own."""

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self.sha256 = hashlib.sha256()
        self._file = path.open("wb")

    def write(self, data: bytes) -> int:
        """Write and sum up."""
        try:
            self._file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.sha256.update(data)
        return len(data)

    def flush(self) -> None:
        """Hand everything to the kernel."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _write_tensors(path: Path, content: Mapping[str, Any]) -> str:
    """Write nested tensors and plain values; return the SHA-256 of the file."""
    file = _Hashed(path)
    try:
        with closing(file):
            torch.save(dict(content), cast(IO[bytes], file))
    except RuntimeError:
        if file.error is not None:
            raise file.error from None
        raise
    return file.sha256.hexdigest()


def _require_finite(content: Mapping[str, Any], step: int) -> None:
    for name, tensor in _floats(content, ""):
        low, high = torch.aminmax(tensor)  # NaN wins both; several times as fast as isfinite().all()
        if not math.isfinite(low) or not math.isfinite(high):
            raise Diverged(f"no checkpoint of step {step} was written: {name} holds a number that is not finite")


def _floats(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield every floating-point tensor of a nested value with its path."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _floats(entry, f"{name}.{key}" if name else str(key))
    elif isinstance(value, Tensor) and value.is_floating_point() and value.numel():
        yield name, value.detach()


def _remove_old(root: Path) -> None:
    """Remove all but the newest two and the newest two good ones."""
    found = sorted(root.glob("step-*"), reverse=True)
    good = [each for each in found if _is_good(each)][:_KEPT_GOOD]
    for old in found[_KEPT_CHECKPOINTS:]:
        if old not in good:
            shutil.rmtree(old, ignore_errors=True)


def _is_good(path: Path) -> bool:
    try:
        return bool(json.loads((path / _STATE).read_text())["good"])
    except (OSError, ValueError, KeyError):
        return False


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
