"""The registry of reward models, policies and evaluation reports.

Registers candidates and reads; moving the ``live`` alias is `feedback.promotion`'s.
"""

from typing import cast

from feedback import fence, keys
from feedback.client import Ledger, encode
from feedback.errors import Conflict, NotFound
from feedback.ids import is_policy_version, policy_version
from feedback.records import EvaluationReport, Policy, RewardModel

ALIAS_NAMES = ("live", "previous", "candidate")


def next_version(ledger: Ledger) -> str:
    """Return a policy version that was never given out before."""
    with ledger.reach() as client:
        return policy_version(int(client.incr(keys.POLICY_COUNTER)) - 1)


def register(ledger: Ledger, policy: Policy, number: int = fence.NO_FENCE) -> None:
    """Add a policy to the registry and point ``candidate`` at it.

    Args:
        ledger: where the registry is.
        policy: the record.
        number: of the trainer that writes (`feedback.fence`).

    Raises:
        Conflict: the version is taken.
        LeaseLost: another trainer took over.
    """
    places = [keys.POLICIES, keys.ALIASES, keys.ROUND_FENCE]
    answer = int(ledger.run("register", places, [policy.version, encode(policy), number]))
    if answer < 0:
        raise fence.superseded(number)
    if not answer:
        raise Conflict(f"{policy.version} is taken; versions are never reused")


def get(ledger: Ledger, name: str) -> Policy:
    """Return the policy with this version or alias.

    Raises:
        NotFound: no such policy, or the alias points nowhere.
    """
    version = name if is_policy_version(name) else aliases(ledger).get(name, "")
    policy = ledger.hget(keys.POLICIES, version, Policy) if version else None
    if policy is None:
        raise NotFound(f"no policy {name!r}; `whetstone policies` lists them")
    return policy


def list_policies(ledger: Ledger) -> list[Policy]:
    """Return all policies, oldest first."""
    return ledger.hall(keys.POLICIES, Policy)


def aliases(ledger: Ledger) -> dict[str, str]:
    """Return alias -> version; an alias that points nowhere is absent."""
    with ledger.reach() as client:
        return cast(dict[str, str], client.hgetall(keys.ALIASES))


def add_reward_model(ledger: Ledger, model: RewardModel, number: int = fence.NO_FENCE) -> None:
    """Record a trained reward model; ``number`` is the trainer's (`feedback.fence`).

    Raises:
        LeaseLost: another trainer took over.
    """
    fence.write(ledger, number, (keys.REWARD_MODELS, model.id, encode(model)))


def reward_model(ledger: Ledger, id: str) -> RewardModel:
    """Return one reward model.

    Raises:
        NotFound: no such reward model.
    """
    model = ledger.hget(keys.REWARD_MODELS, id, RewardModel)
    if model is None:
        raise NotFound(f"no reward model {id!r}")
    return model


def list_reward_models(ledger: Ledger) -> list[RewardModel]:
    """Return all reward models, oldest first."""
    return ledger.hall(keys.REWARD_MODELS, RewardModel)


def add_report(ledger: Ledger, report: EvaluationReport, number: int = fence.NO_FENCE) -> None:
    """Record the evaluation of a candidate; the newest report of a version counts.

    Raises:
        LeaseLost: another trainer than the one with this ``number`` took over.
    """
    fence.write(ledger, number, (keys.REPORTS, report.version, encode(report)))


def report(ledger: Ledger, version: str) -> EvaluationReport | None:
    """Return the newest evaluation of a version, or None."""
    return ledger.hget(keys.REPORTS, version, EvaluationReport)
