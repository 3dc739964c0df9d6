"""What is added to vLLM's worker: weights that are checked before any is loaded, and an end with the trainer.

Knows vLLM 0.32's worker by its attributes, and imports nothing of it; does not know who sends weights, or how
(`trainer.rollouts.weight_transfer`).

On a CPU vLLM keeps a prepacked copy of every linear layer, and a reload repacks only layers that have tensors of
their own. A vocabulary head tied to the embeddings has none and would go on answering with the old weights, so it is
repacked here.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from trainer.maths.fingerprints import fingerprint

WEIGHTS = "model.safetensors"
"""Name of the file with pushed weights."""


class PolicyReload:
    """Methods added to vLLM's worker (``worker_extension_cls``); ``self`` is the worker."""

    device: torch.device
    model_runner: Any
    reload_weights: Any
    weights_taken: int

    def policy_reload(self, directory: str, digests: dict[str, str]) -> int:
        """Load the weights in ``directory`` in place; return how many tensors were read.

        Raises:
            ValueError: a tensor's bits are not those that were sent; nothing is loaded then.
        """
        found = tensor_fingerprints(Path(directory) / WEIGHTS)
        require_same(found, digests)
        self.reload_weights(weights_path=directory)
        repack_tied_head(self.model_runner.get_model(), self.device)
        return len(found)

    def policy_expect(self, digests: dict[str, str]) -> None:
        """Let vLLM's next weight update in only if its tensors, as they arrive here, have these fingerprints.

        An update that is refused leaves the engine without weights until the next: vLLM has emptied its layers by then.
        """
        model = self.model_runner.get_model()
        vars(model).pop("load_weights", None)
        load = model.load_weights
        self.weights_taken = 0

        def checked(weights: Iterable[tuple[str, Tensor]]) -> Any:
            arrived = list(weights)
            require_same({name: fingerprint(tensor) for name, tensor in arrived}, digests)
            taken = load(arrived)
            self.weights_taken += len(arrived)
            return taken

        model.load_weights = checked

    def policy_taken(self) -> int:
        """Return how many tensors the update brought, and let in whatever comes next."""
        model = self.model_runner.get_model()
        vars(model).pop("load_weights", None)
        repack_tied_head(model, self.device)
        return self.weights_taken

    def end_with(self, trainer: int) -> None:
        """End this engine's processes when the trainer's is gone; killed, it cannot do so itself.

        Args:
            trainer: process id.
        """
        if hasattr(os, "pidfd_open"):
            threading.Thread(target=_end_with, args=(os.pidfd_open(trainer), trainer), daemon=True).start()


def require_same(found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Compare fingerprints by name.

    Raises:
        ValueError: tensors differ, are missing or were not sent.
    """
    if found != expected:
        odd = sorted(k for k in found.keys() | expected.keys() if found.get(k) != expected.get(k))
        raise ValueError(f"pushed weights were damaged on the way: {odd[0]} and {len(odd) - 1} more")


def repack_tied_head(model: Any, device: torch.device) -> None:
    """Give a head that shares the embeddings its packed copy anew, where there are such copies."""
    if device.type == "cpu" and getattr(model.config, "tie_word_embeddings", False):
        model.lm_head.quant_method.process_weights_after_loading(model.lm_head)


def tensor_fingerprints(path: Path) -> dict[str, str]:
    """The fingerprint of every tensor in a safetensors file, by name."""
    with safe_open(str(path), framework="pt") as file:
        return {name: fingerprint(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - not a mapping


def _end_with(handle: int, trainer: int) -> None:
    """Wait for the trainer to end; then kill the engine's own process, if there is one, and this worker's."""
    select.select([handle], [], [])
    if os.getppid() not in (1, trainer):
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
