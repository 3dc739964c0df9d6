"""``/v1/operations``: how good labels are, who is paused, what checks labelers; ``/v1/labeling/me``: one's own figures.

Shows the audit's latest report and carries out what an operator decides. A labeler sees ranges of their own, nothing
of others, and nothing that tells which items were checks.
"""

from datetime import timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Response

from feedback import gold, labelers, leases, metrics, promotion, queues
from feedback.client import Ledger
from feedback.quality import figures
from feedback.quality.figures import Estimate
from feedback.records import ApiKey, GoldCheck, utc_now
from serve.asking.schemas import ItemId, body, described
from serve.asking.schemas_quality import GoldIn, LiftIn, PauseIn, ResumeIn
from serve.dependencies import Dependencies
from serve.door.auth import require
from serve.tally import Tally

FEWEST = 10
"""Items, or checks, below which a labeler is shown no range."""


def make_router(deps: Dependencies) -> APIRouter:
    """Return the routes on the quality of labels."""
    router = APIRouter(prefix="/v1")
    operator = Depends(require(deps.keys, "operator"))
    _add_own(router, deps)
    _add_quality(router, deps.ledger, operator)
    _add_people(router, deps.ledger, operator)
    _add_gold(router, deps.ledger, operator)
    return router


def _add_own(router: APIRouter, deps: Dependencies) -> None:
    labeler = Depends(require(deps.keys, "labeler"))
    tally = Tally(deps.ledger)

    @router.get("/labeling/me", tags=["labeling"])
    def me(key: Annotated[ApiKey, labeler]) -> dict[str, Any]:
        """Count the caller's own work, with ranges for how well it agrees; figures are of the days before today."""
        report = figures.latest(deps.ledger)
        person = report.people.get(key.owner) if report is not None else None
        return {
            "labeler": key.owner,
            "group": key.group,
            **tally.of(key.owner),
            "median_s": person.median_s if person else None,
            "agreement": span(person.own.agreement) if person else None,
            "self_agreement": span(person.own.self_agreement) if person else None,
            "gold": span(person.own.gold) if person else None,
        }


def span(estimate: Estimate) -> dict[str, float] | None:
    """Return a figure as the range that it lies in, or None where too little is behind it."""
    if estimate.low is None or estimate.high is None or estimate.n < FEWEST:
        return None
    return {"low": round(estimate.low, 2), "high": round(estimate.high, 2)}


def _add_quality(router: APIRouter, ledger: Ledger, operator: Any) -> None:
    @router.get("/operations/quality", tags=["operations"], dependencies=[operator])
    def quality() -> dict[str, Any]:
        """Return the latest report on labels, where each labeler stands, and what waits how long in each queue."""
        names = sorted(queues.configs(ledger))
        since = figures.oldest(ledger, names)
        return {
            "report": msgspec.to_builtins(figures.latest(ledger)),
            "standings": {name: msgspec.to_builtins(each) for name, each in labelers.standings(ledger).items()},
            "queues": [
                {"name": name, "waiting": leases.waiting(ledger, name), "oldest_s": since[name]} for name in names
            ],
        }


def _add_people(router: APIRouter, ledger: Ledger, operator: Any) -> None:
    @router.post("/operations/labelers/pause", tags=["operations"], openapi_extra=described(PauseIn))
    def pause(key: Annotated[ApiKey, operator], given: Annotated[PauseIn, Depends(body(PauseIn))]) -> dict[str, Any]:
        """Give a labeler no further items, and keep their labels of late out of snapshots if asked to."""
        hours = given.quarantine_hours
        since = None if hours is None else utc_now() - timedelta(hours=hours)
        labelers.pause(ledger, given.labeler, key.owner, given.reason, since)
        return stands(ledger, given.labeler)

    @router.post("/operations/labelers/resume", tags=["operations"], openapi_extra=described(ResumeIn))
    def resume(key: Annotated[ApiKey, operator], given: Annotated[ResumeIn, Depends(body(ResumeIn))]) -> dict[str, Any]:
        """Give a labeler items again; their quarantine is lifted, or is final."""
        labelers.resume(ledger, given.labeler, key.owner, given.reason, lift=given.lift)
        return stands(ledger, given.labeler)

    @router.post("/operations/labelers/lift", tags=["operations"], openapi_extra=described(LiftIn))
    def lift(key: Annotated[ApiKey, operator], given: Annotated[LiftIn, Depends(body(LiftIn))]) -> dict[str, Any]:
        """Let labels count again that an earlier pause keeps out."""
        lifted = labelers.lift(ledger, given.labeler, key.owner, given.reason)
        return {**stands(ledger, given.labeler), "lifted": lifted}


def stands(ledger: Ledger, name: str) -> dict[str, Any]:
    """Return where a labeler stands, as plain values."""
    return {"labeler": name, **msgspec.to_builtins(labelers.standing(ledger, name))}


def _add_gold(router: APIRouter, ledger: Ledger, operator: Any) -> None:
    @router.get("/operations/gold", tags=["operations"], dependencies=[operator])
    def list_gold() -> list[dict[str, Any]]:
        """Return all comparisons with a known answer, for hidden checks and for practice."""
        return [msgspec.to_builtins(check) for check in gold.all_checks(ledger)]

    @router.post("/operations/gold", tags=["operations"], openapi_extra=described(GoldIn))
    def add(key: Annotated[ApiKey, operator], given: Annotated[GoldIn, Depends(body(GoldIn))]) -> dict[str, Any]:
        """Check labelers with a comparison of which the right order of some pairs is known."""
        check = GoldCheck(
            comparison_id=given.comparison_id,
            created_at=utc_now(),
            pairs=given.pairs,
            source="operator",
            practice=given.practice,
            explanation=given.explanation,
        )
        gold.add(ledger, check)
        promotion.note(ledger, key.owner, "add gold check", given.comparison_id)
        return dict(msgspec.to_builtins(check))

    @router.delete("/operations/gold/{item_id}", tags=["operations"], status_code=204)
    def remove(item_id: ItemId, key: Annotated[ApiKey, operator]) -> Response:
        """Check nobody with this comparison any more."""
        gold.remove(ledger, item_id)
        promotion.note(ledger, key.owner, "remove gold check", item_id)
        return Response(status_code=204)


def set_gauges(ledger: Ledger) -> None:
    """Set the metrics of the quality of labels from the latest report and the labelers' standing."""
    paused = sum(each.state == "paused" for each in labelers.standings(ledger).values())
    metrics.labelers.labels("paused").set(paused)
    report = figures.latest(ledger)
    if report is None:
        return
    metrics.labelers.labels("seen").set(len(report.people))
    metrics.labelers.labels("flagged").set(sum(bool(person.flags) for person in report.people.values()))
    metrics.labels_quarantined.set(report.quarantined)
    for name, group in report.groups.items():
        for figure, estimate in (("pairs", group.agreement), ("alpha", group.alpha)):
            if estimate.value is not None:
                metrics.label_agreement.labels(name, figure).set(estimate.value)
    checked = [person.gold for person in report.people.values() if person.gold.value is not None]
    if checked:
        passed = sum(each.n * (each.value or 0.0) for each in checked)
        metrics.gold_passed.set(passed / sum(each.n for each in checked))
