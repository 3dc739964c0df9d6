"""The whole loop at a glance: what is live, what waits, how much there is. Reads only."""

import json
from typing import Any

import msgspec

from feedback import (
    canary,
    collection,
    comparisons,
    demonstrations,
    interactions,
    keys,
    labels,
    leases,
    policies,
    prompts,
    queues,
    reviews,
    rounds,
)
from feedback.client import Ledger


def overview(ledger: Ledger) -> dict[str, Any]:
    """Return what the ledger says of the whole loop, as plain values."""
    found, trial, said = rounds.list_rounds(ledger), canary.running(ledger), rounds.outlook(ledger)
    return {
        "aliases": policies.aliases(ledger),
        "canary": msgspec.to_builtins(trial) if trial else None,
        "queues": {
            **{name: leases.waiting(ledger, name) for name in (*queues.configs(ledger), queues.DEMONSTRATION)},
            "being_sampled": comparisons.being_sampled(ledger),
        },
        "counts": {
            "interactions": interactions.count(ledger),
            "prompts": prompts.count(ledger),
            "labels": labels.count(ledger),
            "demonstrations": demonstrations.count(ledger),
        },
        "dead_letters": comparisons.dead_count(ledger),
        "buried": comparisons.buried(ledger),
        "held": leases.live(ledger),
        "reviews": reviews.open_count(ledger),
        "collect": collection.collected(ledger),
        "round": msgspec.to_builtins(found[-1]) if found else None,
        "round_requested": rounds.requested(ledger),
        "round_outlook": msgspec.to_builtins(said) if said else None,
    }


def replicas(ledger: Ledger) -> dict[str, Any]:
    """Return what each serving replica said of itself in its last heartbeat; those that are silent are absent."""
    with ledger.reach() as client:
        names = sorted(client.scan_iter(match=keys.replica("*"), count=1000))
        texts = client.mget(names) if names else []
    prefix = keys.replica("")
    return {
        name.removeprefix(prefix): json.loads(text) for name, text in zip(names, texts, strict=True) if text is not None
    }
