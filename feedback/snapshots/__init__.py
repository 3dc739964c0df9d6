"""Snapshots: what trains, frozen into hashed Parquet files, with a reason for everything that is not inside."""

from feedback.snapshots.build import build
from feedback.snapshots.caps import Caps
from feedback.snapshots.store import (
    answers_in,
    compare,
    demonstrations_in,
    get,
    list_snapshots,
    new_comparisons,
    verify,
)

__all__ = [
    "Caps",
    "answers_in",
    "build",
    "compare",
    "demonstrations_in",
    "get",
    "list_snapshots",
    "new_comparisons",
    "verify",
]
