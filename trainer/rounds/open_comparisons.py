"""Comparisons that wait for their first labeler, written for stage ``disagree``, and its figures noted in the ledger.

Knows the ledger and two small files; knows no models.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from feedback import comparisons, leases, queues
from feedback.client import Ledger
from feedback.records import Comparison


def write(ledger: Ledger, path: Path, most: int) -> int:
    """Write the newest comparisons of the training queues that nobody was given yet, at most ``most``.

    The file holds customers' words: whoever writes it deletes it after use.

    Returns:
        How many were written.
    """
    names = [name for name, config in queues.configs(ledger).items() if config.purpose == "training"]
    found = [each for name in names for each in comparisons.newest_fresh(ledger, name, most)]
    found = sorted(found, key=lambda each: each.created_at, reverse=True)[:most]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row(each)) + "\n" for each in found))
    return len(found)


def row(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison in the preference schema, without judgements."""
    return {
        "id": comparison.id,
        "messages": [{"role": each.role, "content": each.content} for each in comparison.messages],
        "responses": [{"text": each.text, "finished": each.finished} for each in comparison.completions],
        "comparisons": [],
    }


def note(ledger: Ledger, path: Path) -> int:
    """Pass the stage's figures on to the queues; return how many of the items still wait.

    Raises:
        OSError: there is no such file.
        ValueError: it holds no JSON.
    """
    return leases.set_disagreement(ledger, json.loads(path.read_text()))
