"""``/v1/operations``: watch the loop, promote, roll back, ask for a round or cancel it.

Parses, calls the gate and the ledger's moves, shapes answers for people. Every action is in the audit under the
operator's name.
"""

from collections import deque
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Query

from feedback import lineage, policies, promotion
from feedback import rounds as training_rounds
from feedback.overview import overview
from feedback.promotion import Thresholds, gate
from feedback.records import ApiKey, EvaluationReport, Policy, Record
from serve.asking.schemas import PolicyPath, PromoteIn, RollbackIn, RoundIn, body, described
from serve.dependencies import Dependencies
from serve.door.auth import require
from serve.errors import InvalidRequest, Refused

Limit = Annotated[int, Query(ge=1, le=1000)]
R = TypeVar("R", bound=Record)


def make_router(deps: Dependencies) -> APIRouter:
    """Return the operators' routes."""
    router = APIRouter(prefix="/v1/operations", tags=["operations"])
    operator = Depends(require(deps.keys, "operator"))
    thresholds: Thresholds = getattr(deps.settings, "thresholds", Thresholds())
    _add_readers(router, deps, operator, thresholds)

    @router.post("/promote", openapi_extra=described(PromoteIn))
    def promote(
        key: Annotated[ApiKey, operator], given: Annotated[PromoteIn, Depends(body(PromoteIn))]
    ) -> dict[str, Any]:
        """Make a policy live if the gate passes it, or against the gate with `override` and a reason."""
        if given.override and not given.reason.strip():
            raise InvalidRequest("reason: an override needs a reason; it is kept in the audit", "reason")
        policy = policies.get(deps.ledger, given.version)
        decision = gate(policy, policies.report(deps.ledger, policy.version), thresholds)
        if not decision.promote and not given.override:
            failed = [reason for reason in decision.reasons if reason.startswith("FAIL")]
            promotion.note(deps.ledger, key.owner, "promote refused", policy.version, "; ".join(failed))
            raise Refused(f"the gate refuses {policy.version}: {'; '.join(failed)}", decision.reasons)
        reason = f"override: {given.reason}" if given.override and not decision.promote else given.reason
        version = promotion.promote(deps.ledger, policy.version, key.owner, reason)
        return {"version": version, "decision": msgspec.structs.asdict(decision)}

    @router.post("/rollback", openapi_extra=described(RollbackIn, required=False))
    def roll_back(
        key: Annotated[ApiKey, operator], given: Annotated[RollbackIn, Depends(body(RollbackIn, optional=True))]
    ) -> dict[str, str]:
        """Make the previous policy live again."""
        return {"version": promotion.roll_back(deps.ledger, key.owner, given.reason)}

    @router.post("/rounds", openapi_extra=described(RoundIn))
    def ask_for_round(
        key: Annotated[ApiKey, operator], given: Annotated[RoundIn, Depends(body(RoundIn))]
    ) -> dict[str, str]:
        """Ask the trainer for a round as soon as it is free."""
        training_rounds.request(deps.ledger, given.kind)
        promotion.note(deps.ledger, key.owner, "ask for round", given.kind)
        return {"requested": given.kind}

    @router.delete("/rounds/current")
    def cancel_round(key: Annotated[ApiKey, operator]) -> dict[str, str]:
        """Give up the round that runs, or take back the request for one (`cancelled` is empty then)."""
        ended = training_rounds.cancel(deps.ledger)
        promotion.note(deps.ledger, key.owner, "cancel round", ended or "request")
        return {"cancelled": ended}

    return router


def _add_readers(router: APIRouter, deps: Dependencies, operator: Any, thresholds: Thresholds) -> None:
    reader = [operator]

    @router.get("/status", dependencies=reader)
    def status() -> dict[str, Any]:
        """Return aliases, slots, queues, counts and the latest round."""
        slots = [
            {"slot": each.slot, "version": each.version, "state": each.state, "in_flight": each.in_flight}
            for each in deps.traffic.slots
        ]
        return {"slots": slots, **overview(deps.ledger)}

    @router.get("/policies", dependencies=reader)
    def list_policies() -> list[dict[str, Any]]:
        """Return all policies, newest first, each with its report and what the gate says of it."""
        names = policies.aliases(deps.ledger)
        return [
            shown(policy, policies.report(deps.ledger, policy.version), thresholds, names)
            for policy in reversed(policies.list_policies(deps.ledger))
        ]

    @router.get("/policies/{version}/lineage", dependencies=reader)
    def trace(version: PolicyPath) -> list[dict[str, Any]]:
        """Return a policy's ancestors, youngest first, each with the data that made it."""
        return lineage.trace(deps.ledger, version)

    @router.get("/rounds", dependencies=reader)
    def list_rounds(limit: Limit = 100) -> list[dict[str, Any]]:
        """Return the latest training rounds, newest first."""
        return latest(training_rounds.list_rounds(deps.ledger), limit)

    @router.get("/swaps", dependencies=reader)
    def list_swaps(limit: Limit = 100) -> list[dict[str, Any]]:
        """Return the latest swap events of all replicas, newest first."""
        return latest(promotion.swaps(deps.ledger), limit)

    @router.get("/audit", dependencies=reader)
    def list_audit(limit: Limit = 100) -> list[dict[str, Any]]:
        """Return the latest entries of the audit, newest first."""
        return latest(promotion.audit(deps.ledger), limit)


def shown(
    policy: Policy, report: EvaluationReport | None, thresholds: Thresholds, names: dict[str, str]
) -> dict[str, Any]:
    """Return one policy as operators see it."""
    return {
        **msgspec.to_builtins(policy),
        "aliases": sorted(name for name, version in names.items() if version == policy.version),
        "figures": report.figures if report is not None else None,
        "decision": msgspec.to_builtins(gate(policy, report, thresholds)),
    }


def latest(records: Iterable[R], limit: int) -> list[dict[str, Any]]:
    """Return the last ``limit`` records, newest first, as plain values."""
    return [msgspec.to_builtins(record) for record in reversed(deque(records, maxlen=limit))]
