"""What a round starts from: policies and reward models of earlier rounds. Pure choices over the registry's records."""

from __future__ import annotations

from collections.abc import Sequence

from feedback.errors import StageFailed
from feedback.records import Kind, Policy, RewardModel
from trainer.settings.service import TrainerSettings

FULL, INCREMENTAL = "full", "incremental"


def newest(policies: Sequence[Policy], kind: Kind) -> Policy:
    """Return the newest policy of a kind.

    Raises:
        StageFailed: there is none.
    """
    found = [policy for policy in policies if policy.kind == kind]
    if not found:
        raise StageFailed(f"no policy of kind {kind} is registered; a round of kind sft makes the first")
    return found[-1]


def warm_start(settings: TrainerSettings, reference: Policy, earlier: Sequence[RewardModel]) -> RewardModel | None:
    """Return the reward model that this round's goes on from, or None where it is trained in full.

    Args:
        settings: whether, and how often one is trained in full all the same.
        reference: SFT policy whose trunk a reward model trained in full has. After a new one the next is trained in
            full: the one before has another trunk, and has seen its labels under it. So is the first one of another
            number of members.
        earlier: reward models of earlier rounds, oldest first.
    """
    if settings.reward_training == FULL or not earlier or earlier[-1].metrics.get("policy") != reference.version:
        return None
    if earlier[-1].metrics.get("members", 1) != settings.reward_members:
        return None
    since_full = 0
    for model in reversed(earlier):
        if model.metrics.get("training") != INCREMENTAL:
            break
        since_full += 1
    return earlier[-1] if since_full + 1 < settings.full_reward_every else None


def judge_for(base: Policy, policies: Sequence[Policy], models: Sequence[RewardModel]) -> RewardModel | None:
    """Return the newest reward model that can choose the best epoch of an SFT of ``base``: one of the same family."""
    family = {policy.version for policy in policies if policy.kind == "sft" and policy.parent == base.version}
    return next((model for model in reversed(models) if model.metrics.get("policy") in family), None)
