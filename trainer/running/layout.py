"""Where a run keeps its files, and how they are read, so that the service can look without loading what stages need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SETTINGS_FILE = "settings.json"
METRICS_FILE = "metrics.json"
METRICS_LOG = "metrics.jsonl"
PROGRESS_FILE = "progress.json"
PROBE_FILE = "probe.json"
"""Greedy answers with log-probabilities, stored with a policy; serving checks them before it swaps."""
FIGURES_FILE = "disagreement.json"
"""Comparison id -> figure, as stage ``disagree`` leaves them."""
BAD_BATCHES_FILE = "bad-batches.jsonl"
"""A line for each optimizer step that was skipped because a number was none: why, and the rows of its batch."""
CHECKPOINTS = "checkpoints"
RESULT = "result"
LOCK_FILE = "lock"
"""Held (flock) in the working directory by the process that is at work there."""


def working_directory(output: Path) -> Path:
    """Return where the run that will become ``output`` keeps all that is its own: result, checkpoints, lock."""
    return output.with_name(output.name + ".partial")


def partial_directory(output: Path) -> Path:
    """Return what becomes ``output`` when the run ends, with its ``progress.json`` and ``metrics.jsonl``."""
    return working_directory(output) / RESULT


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty when there is none."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
