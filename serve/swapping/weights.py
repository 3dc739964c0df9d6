"""What a policy directory must be before an engine may see it: safetensors, finite, of the expected shape.

Reads files only; knows no engine. Everything that a reload of weights does not replace (configuration, tokenizer,
chat template) is part of the `Shape` and must stay what it was when the engine started.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedback import artifacts
from feedback.errors import ArtifactError, SwapFailed

REFUSED_SUFFIXES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".npz", ".msgpack", ".h5", ".py", ".so"}
"""Formats that can carry code, or weights that were not checked here."""
MOST_FILES = 1000
"""Files in a policy's directory; a sharded policy has some dozens."""
VOLATILE_CONFIG = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "architectures_hash"}
"""Keys of config.json that change nothing about the computation."""
TOKENIZER_KEYS = (
    "eos_token",
    "bos_token",
    "pad_token",
    "unk_token",
    "add_bos_token",
    "add_eos_token",
    "added_tokens_decoder",
)


@dataclass(frozen=True)
class Shape:
    """What two policies must share to be swapped for each other without a new engine."""

    config: str
    """SHA-256 of the configuration that matters."""
    tokenizer: str
    chat_template: str
    tensors: str
    """SHA-256 of the names and shapes of all tensors."""

    def differences(self, other: "Shape") -> list[str]:
        """Return the names of the parts that differ."""
        return [
            name
            for name in ("config", "tokenizer", "chat_template", "tensors")
            if getattr(self, name) != getattr(other, name)
        ]


def inspect(directory: Path, sha256: str) -> Shape:
    """Check a policy directory from end to end and return its shape; blocks for as long as reading it takes.

    Args:
        directory: as the registry names it.
        sha256: SHA-256 of its manifest, from the registry.

    Raises:
        SwapFailed: a file is missing, differs from its manifest, is in a format that may carry code, or a weight is
            not finite.
    """
    try:
        _check_files(directory)
        artifacts.verify(directory, sha256)
        _check_formats(directory)
        config = _read_json(directory / "config.json")
        if "auto_map" in config:
            raise SwapFailed(f"{directory / 'config.json'} names code to run (auto_map)")
        return Shape(
            config=_digest({key: value for key, value in config.items() if key not in VOLATILE_CONFIG}),
            tokenizer=_tokenizer(directory),
            chat_template=_digest(_chat_template(directory)),
            tensors=_digest(_check_tensors(directory)),
        )
    except (ArtifactError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SwapFailed(f"{directory} is no usable policy: {error}") from error


def _check_files(directory: Path) -> None:
    """Refuse what must not even be read: links that lead outside, devices, pipes, crowds, sizes of another file."""
    root = directory.resolve()
    for number, path in enumerate(directory.rglob("*")):
        if number >= MOST_FILES:
            raise SwapFailed(f"{directory} holds more than {MOST_FILES} files")
        if not path.resolve().is_relative_to(root):
            raise SwapFailed(f"{path.name} leads outside of the policy's directory")
        if not path.is_file() and not path.is_dir():
            raise SwapFailed(f"{path.name} is no file")
    manifest = directory / artifacts.MANIFEST
    for name, entry in _read_json(manifest)["files"].items() if manifest.is_file() else ():
        path = directory / name
        if not path.resolve().is_relative_to(root):
            raise SwapFailed(f"the manifest names {name}, outside of the policy's directory")
        if "bytes" in entry and path.is_file() and path.stat().st_size != entry["bytes"]:
            raise SwapFailed(f"{path} does not match its manifest: it has another size")


def _check_formats(directory: Path) -> None:
    files = [path for path in directory.rglob("*") if path.is_file()]
    for path in files:
        if path.suffix.lower() in REFUSED_SUFFIXES:
            raise SwapFailed(f"{path.name} is refused: weights come as safetensors and policies carry no code")
    if not any(path.suffix == ".safetensors" for path in files):
        raise SwapFailed(f"{directory} has no .safetensors file")


def _check_tensors(directory: Path) -> dict[str, list[int]]:
    """Return name -> shape of all tensors, every value of which is finite."""
    from safetensors import SafetensorError, safe_open  # imports torch; only a process with an engine needs it

    shapes: dict[str, list[int]] = {}
    zero = True
    for path in sorted(directory.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    tensor = file.get_tensor(name)
                    if not bool(tensor.isfinite().all()):
                        raise SwapFailed(f"{name} in {path.name} holds values that are not finite")
                    if name in shapes:
                        raise SwapFailed(f"{name} in {path.name} was in another file before")
                    zero = zero and not bool(tensor.any())
                    shapes[name] = list(tensor.shape)
        except SafetensorError as error:
            raise SwapFailed(f"{path.name} is no safetensors file: {error}") from error
    if zero:
        raise SwapFailed(f"all weights of {directory} are zero")
    return shapes


def _tokenizer(directory: Path) -> str:
    config = _read_json(directory / "tokenizer_config.json")
    special = {key: config.get(key) for key in TOKENIZER_KEYS}
    return _digest([artifacts.sha256_of(directory / "tokenizer.json"), special])


def _chat_template(directory: Path) -> Any:
    file = directory / "chat_template.jinja"
    if file.is_file():
        return file.read_text()
    return _read_json(directory / "tokenizer_config.json").get("chat_template", "")


def _read_json(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    if not isinstance(content, dict):
        raise SwapFailed(f"{path} is no JSON object")
    return content


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
