"""From a policy back to the labels that made it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from feedback import artifacts, policies, rounds, snapshots
from feedback.client import Ledger
from feedback.errors import ArtifactError, NotFound
from feedback.records import Policy


def trace(ledger: Ledger, name: str) -> list[dict[str, Any]]:
    """Return one entry per ancestor of a policy, youngest first.

    Each entry names the version, its kind and parent, its round, its reward model, and its snapshot with the
    counts of labels inside.

    Raises:
        NotFound: the policy, or something that a record names, is not in the ledger.
    """
    chain: list[dict[str, Any]] = []
    policy: Policy | None = policies.get(ledger, name)
    while policy is not None:
        entry: dict[str, Any] = {
            "version": policy.version,
            "kind": policy.kind,
            "created_at": policy.created_at.isoformat(),
            "parent": policy.parent,
            "reference": policy.reference,
            "sha256": policy.sha256,
            "config_sha256": policy.config_sha256,
        }
        if policy.round_id:
            entry["round"] = rounds.get(ledger, policy.round_id).id
        if policy.reward_model_id:
            model = policies.reward_model(ledger, policy.reward_model_id)
            entry["reward_model"] = {"id": model.id, "sha256": model.sha256, "snapshot": model.snapshot_id}
        if policy.snapshot_id:
            snapshot = snapshots.get(ledger, policy.snapshot_id)
            entry["snapshot"] = {
                "id": snapshot.id,
                "sha256": snapshot.sha256,
                "content_sha256": snapshot.content_sha256,
                "labels": len(snapshot.labels),
                "left_out": len(snapshot.left_out),
                "demonstrations": snapshot.demonstrations,
            }
        chain.append(entry)
        policy = policies.get(ledger, policy.parent) if policy.parent else None
    return chain


def descendants(ledger: Ledger, snapshot_ids: Iterable[str]) -> list[str]:
    """Return the versions that these snapshots went into, directly, by a reward model, or by an ancestor."""
    wanted = set(snapshot_ids)
    models = {model.id for model in policies.list_reward_models(ledger) if model.snapshot_id in wanted}
    found: list[str] = []
    for policy in policies.list_policies(ledger):  # oldest first, so ancestors come before their descendants
        made_of = {policy.parent, policy.reference} & set(found)
        if policy.snapshot_id in wanted or policy.reward_model_id in models or made_of:
            found.append(policy.version)
    return found


def verify(ledger: Ledger, name: str, root: Path) -> list[str]:
    """Return what is wrong with a policy's lineage, empty if every link and every file checks out.

    Args:
        ledger: where the records are.
        name: version or alias.
        root: the artifact root.
    """
    faults: list[str] = []
    try:
        chain = trace(ledger, name)
    except NotFound as error:
        return [str(error)]
    if chain[-1]["kind"] != "base":
        faults.append(f"{chain[-1]['version']} has no parent and is not a base model")
    for entry in chain:
        try:
            places = _places(ledger, policies.get(ledger, entry["version"]))
        except NotFound as error:
            faults.append(str(error))
            continue
        for path, sha256 in places:
            try:
                artifacts.verify(root / path, sha256)
            except ArtifactError as error:
                faults.append(str(error))
    return faults


def _places(ledger: Ledger, policy: Policy) -> list[tuple[str, str]]:
    """Return (path, SHA-256) of everything that made a policy, itself included.

    Raises:
        NotFound: something that a record names is not in the ledger.
    """
    places = [(policy.path, policy.sha256)]
    snapshot_ids = [policy.snapshot_id]
    if policy.reward_model_id:
        model = policies.reward_model(ledger, policy.reward_model_id)
        places.append((model.path, model.sha256))
        if model.snapshot_id not in snapshot_ids:
            snapshot_ids.append(model.snapshot_id)
    if policy.reference:
        reference = policies.get(ledger, policy.reference)
        places.append((reference.path, reference.sha256))
    for id in filter(None, snapshot_ids):
        snapshot = snapshots.get(ledger, id)
        places.append((snapshot.path, snapshot.sha256))
    return places
