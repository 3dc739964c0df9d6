"""Registers what a round made: reward model, policy, evaluation. The trainer's only writer of candidates.

Copies finished directories under the artifact root and records them; has no way to move ``live``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from feedback import artifacts, fence, log, policies
from feedback.client import Ledger
from feedback.errors import Conflict
from feedback.records import EvaluationReport, Kind, Policy, RewardModel, utc_now
from trainer.running.layout import PROBE_FILE

logger = log.get(__name__)
_SERVED = {".json", ".safetensors", ".jinja", ".model", ".txt"}
"""Suffixes of the files that a policy directory is served from: weights, configuration, any tokenizer's files."""
_LEFT_BEHIND = {"metrics.json", "progress.json", artifacts.MANIFEST}


def store_policy(source: Path, root: Path, version: str, probe: list[dict[str, Any]]) -> tuple[str, str]:
    """Copy what serving needs of a policy directory, with its probe, to ``root``/policies/``version``.

    Returns:
        (path relative to ``root``, SHA-256 of its manifest). A copy that is there already is kept.
    """

    def fill(draft: Path) -> None:
        for file in sorted(source.iterdir()):
            if file.suffix in _SERVED and file.name not in _LEFT_BEHIND:
                shutil.copyfile(file, draft / file.name)
        (draft / PROBE_FILE).write_text(json.dumps(probe) + "\n")

    return _stored(root, Path("policies") / version, fill)


def store_reward_model(source: Path, root: Path, id: str) -> tuple[str, str]:
    """Copy a reward model to ``root``/reward-models/``id``; return (relative path, SHA-256 of its manifest)."""

    def fill(draft: Path) -> None:
        shutil.copytree(source, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns(artifacts.MANIFEST))

    return _stored(root, Path("reward-models") / id, fill)


def _stored(root: Path, path: Path, fill: Callable[[Path], None]) -> tuple[str, str]:
    """Make a directory unless it is there: a trainer that died, or one that was superseded, made the same one."""
    if not (root / path).exists():
        try:
            with artifacts.new_directory(root / path) as draft:
                fill(draft)
        except Conflict:
            logger.info("made by another trainer in the meantime", path=str(path))
    return str(path), artifacts.verify(root / path)


def register_base(ledger: Ledger, root: Path, source: Path, probe: list[dict[str, Any]]) -> Policy:
    """Register a pretrained model as the policy from which everything starts."""
    return register_policy(ledger, root, source, policies.next_version(ledger), "base", probe=probe)


def register_policy(
    ledger: Ledger,
    root: Path,
    source: Path,
    version: str,
    kind: Kind,
    *,
    probe: list[dict[str, Any]],
    parent: str = "",
    reference: str = "",
    reward_model_id: str = "",
    snapshot_id: str = "",
    round_id: str = "",
    metrics: dict[str, Any] | None = None,
    number: int = fence.NO_FENCE,
) -> Policy:
    """Store a policy's files, record it and point ``candidate`` at it; return the record.

    Raises:
        LeaseLost: another trainer than the one with this ``number`` took over.
    """
    path, sha256 = store_policy(source, root, version, probe)
    settings = source / "settings.json"
    policy = Policy(
        version=version,
        created_at=utc_now(),
        kind=kind,
        path=path,
        sha256=sha256,
        parent=parent,
        reference=reference,
        reward_model_id=reward_model_id,
        snapshot_id=snapshot_id,
        round_id=round_id,
        config_sha256=artifacts.sha256_of(settings) if settings.is_file() else "",
        metrics=metrics or {},
    )
    policies.register(ledger, policy, number)
    return policy


def register_reward_model(
    ledger: Ledger,
    root: Path,
    source: Path,
    id: str,
    snapshot_id: str,
    metrics: dict[str, Any],
    number: int = fence.NO_FENCE,
) -> RewardModel:
    """Store a reward model's files and record it; return the record.

    Raises:
        LeaseLost: another trainer than the one with this ``number`` took over.
    """
    path, sha256 = store_reward_model(source, root, id)
    model = RewardModel(id=id, created_at=utc_now(), snapshot_id=snapshot_id, path=path, sha256=sha256, metrics=metrics)
    policies.add_reward_model(ledger, model, number)
    return model


def register_report(
    ledger: Ledger, id: str, version: str, figures: dict[str, Any], number: int = fence.NO_FENCE
) -> EvaluationReport:
    """Record a candidate's evaluation.

    Raises:
        LeaseLost: another trainer than the one with this ``number`` took over.
    """
    report = EvaluationReport(id=id, created_at=utc_now(), version=version, figures=figures)
    policies.add_report(ledger, report, number)
    return report


def gate_figures(found: dict[str, Any]) -> dict[str, Any]:
    """Return what `feedback.promotion.judge` reads, and the rest for people, from an ``evaluate`` run's report.

    The run compares ``policy`` with ``live`` and with ``reference``; a figure that it could not measure is left out.
    """
    own, reference = found["policies"]["policy"], found["policies"]["reference"]
    figures: dict[str, Any] = {
        "win_rate": found["win_rate"].get("live"),
        "win_rate_against_reference": found["win_rate"].get("reference"),
        "kl_nats": own["kl_nats"],
        "kl_to_reference_nats": own.get("kl_to_reference_nats"),
        "kl_to_parent_nats": own.get("kl_to_parent_nats"),
        "length_ratio": found["length_ratio"]["live"],
        "eos_rate": own["eos_rate"],
        "policies": found["policies"],
        "prompts": found["prompts"],
    }
    if own["pretraining_loss"] is not None:
        figures["pretraining_loss_rise"] = own["pretraining_loss"] / reference["pretraining_loss"] - 1
    return figures
