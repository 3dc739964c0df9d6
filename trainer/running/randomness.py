"""The state of every random generator that a stage may draw from, as plain values and tensors.

Knows the generators of Python, NumPy and torch; does not know files.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch

_NUMPY_SEEDS = 2**32
"""NumPy takes 32 bits."""


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch, on every device."""
    random.seed(seed)
    np.random.seed(seed % _NUMPY_SEEDS)
    torch.manual_seed(seed)


def random_state(generators: Mapping[str, torch.Generator]) -> dict[str, Any]:
    """Return the states of the global generators and of the given ones.

    Returns:
        ``python`` and ``numpy`` (tuples and numbers), ``torch`` (CPU), ``cuda`` (one a device), ``generators`` by name.
    """
    kind, keys, position, has_gauss, cached = cast(
        tuple[str, np.ndarray, int, int, float], np.random.get_state(legacy=True)
    )
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.tensor(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "generators": {name: generator.get_state() for name, generator in generators.items()},
    }


def restore_random_state(state: Mapping[str, Any], generators: Mapping[str, torch.Generator]) -> None:
    """Put back what ``random_state`` returned.

    Raises:
        KeyError: one of ``generators`` is not in it.
    """
    for name, generator in generators.items():
        generator.set_state(state["generators"][name])
    random.setstate(state["python"])
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
