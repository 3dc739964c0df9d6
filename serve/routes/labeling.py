"""``/v1/labeling``: items for labelers, leased one at a time, kept alive, skipped, reported or handed back.

Knows when a labeler may have which item; what they see of it is `serve.routes.views`, what they answer
`serve.routes.answers`. Queueing and leases are the ledger's.
"""

import random
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Response

from feedback import comparisons, leases, metrics, queues, reviews, tallies, workdays
from feedback.client import Ledger, decode
from feedback.errors import LeaseLost, NotFound, RateLimited
from feedback.log import get
from feedback.records import ApiKey, Comparison, Prompt, QueueConfig
from serve.asking.schemas import ItemId, body, described
from serve.asking.schemas_labeling import HeartbeatIn, NextIn, ReportIn, SkipIn
from serve.dependencies import Dependencies
from serve.door.auth import require
from serve.door.lean import Lean
from serve.routes.gate import Gate
from serve.routes.views import shown_comparison, shown_prompt

SKIPS_TO_REVIEW = 3
"""An item that this many different labelers skipped goes to a reviewer."""
GONE = 3
"""Items in a row that may vanish between lease and look (their customer was erased) before a caller is told 404."""
log = get(__name__)


def make_router(deps: Dependencies) -> APIRouter:
    """Return the labelers' routes."""
    router = APIRouter(prefix="/v1/labeling", tags=["labeling"], route_class=Lean)
    labeler = Depends(require(deps.keys, "labeler"))
    ledger, settings = deps.ledger, deps.settings
    gate = Gate(ledger, practice_required=settings.practice_required)
    _add_ways_out(router, deps, labeler)

    @router.post(
        "/next",
        response_model=None,
        responses={204: {"description": "Nothing waits for this labeler."}},
        openapi_extra=described(NextIn),
    )
    def next_item(
        key: Annotated[ApiKey, labeler], given: Annotated[NextIn, Depends(body(NextIn))]
    ) -> dict[str, Any] | Response:
        """Lease the next item that this labeler has not seen; 204 when nothing is left."""
        config = gate.config(given.queue)
        demand = gate.admit(key, config)
        for _ in range(GONE):
            found = take(ledger, config, key.owner, settings.most_leases, demand)
            if found is None:
                return Response(status_code=204)
            view = seen(found, config)
            if view is not None:
                return view
        raise NotFound("the next item was erased a moment ago; ask again")

    @router.post("/items/{item_id}/heartbeat", openapi_extra=described(HeartbeatIn))
    def heartbeat(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[HeartbeatIn, Depends(body(HeartbeatIn))]
    ) -> dict[str, float]:
        """Keep a lease alive and say until when."""
        return {"deadline_s": leases.renew(ledger, item_id, key.owner, given.token)}

    @router.get("/queues")
    def list_queues(key: Annotated[ApiKey, labeler]) -> dict[str, Any]:
        """List the queues that the caller may take from, with what waits there and what the caller did today."""
        today = workdays.answered(ledger, key.owner)
        return {"queues": [offered(ledger, config, today.get(config.name, 0)) for config in gate.open_to(key)]}

    return router


def _add_ways_out(router: APIRouter, deps: Dependencies, labeler: Any) -> None:
    """Add the routes by which an item goes back without an answer."""
    ledger, settings = deps.ledger, deps.settings

    @router.post("/items/{item_id}/skip", openapi_extra=described(SkipIn))
    def skip(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[SkipIn, Depends(body(SkipIn))]
    ) -> dict[str, str]:
        """Give an item back and say why; it is not offered to this labeler again, and after three to nobody."""
        today = workdays.note_skip(ledger, key.owner)
        if today > settings.skips_per_day:
            raise RateLimited(f"{settings.skips_per_day} skips a day are the most; let the item run out instead", 3600)
        skippers = leases.release(ledger, item_id, key.owner, given.token, given.reason, given.note)
        metrics.skips_total.labels(given.reason).inc()
        if today == settings.skips_flagged:
            metrics.labelers_flagged_total.labels("skips").inc()
            log.warning("labeler skips much", labeler=key.owner, today=today)
        if skippers >= SKIPS_TO_REVIEW:
            for said in leases.skips(ledger, item_id):
                reviews.open_review(ledger, item_id, "skips", f"{said.reason}: {said.note}".removesuffix(": "))
        return {"id": item_id}

    @router.post("/items/{item_id}/report", openapi_extra=described(ReportIn))
    def report(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[ReportIn, Depends(body(ReportIn))]
    ) -> dict[str, str]:
        """Say that nobody should be given an item: it is held for everybody until a reviewer has looked at it."""
        lease = leases.held(ledger, item_id, key.owner)
        if lease is None or lease.token != given.token:
            raise LeaseLost(f"the lease of {item_id} is gone")
        today, wait_s = tallies.add(ledger, "report", key.owner, tallies.DAY_S)
        if today > settings.reports_per_day:
            raise RateLimited(f"{settings.reports_per_day} reports a day are the most; skip the item instead", wait_s)
        said = f"{given.reason}: {given.note}".removesuffix(": ")
        for id in origin(ledger, item_id):
            reviews.open_review(ledger, id, "report", said)
        leases.release(ledger, item_id, key.owner, given.token, f"report {given.reason}", given.note)
        metrics.reports_total.labels(given.reason).inc()
        log.warning("item reported", item=item_id, reason=given.reason, key=key.id)
        return {"id": item_id}

    @router.post("/items/{item_id}/return", openapi_extra=described(HeartbeatIn))
    def hand_back(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[HeartbeatIn, Depends(body(HeartbeatIn))]
    ) -> dict[str, str]:
        """Hand an item back that was not looked at; it may be offered to the same labeler again."""
        leases.hand_back(ledger, item_id, key.owner, given.token)
        return {"id": item_id}


def take(ledger: Ledger, config: QueueConfig, labeler: str, most: int, demand: leases.Demand) -> leases.Handed | None:
    """Lease an item by the queue's rules, with fresh draws."""
    check, draw = queues.lease_of(config, random.random(), random.random())
    return leases.hand(
        ledger,
        config.name,
        labeler,
        config.lease_s,
        most=most,
        daily_cap=config.daily_cap,
        pick=leases.Pick(check, draw, random.random()),
        demand=demand,
    )


def seen(found: leases.Handed, config: QueueConfig) -> dict[str, Any] | None:
    """Return what the labeler sees of an item that was handed to them; None if it was erased."""
    if found.record is None:
        return None
    draft = msgspec.json.decode(found.draft) if found.draft is not None else None
    if config.name == queues.DEMONSTRATION:
        return shown_prompt(decode(found.record, Prompt), found.lease, config, draft)
    return shown_comparison(decode(found.record, Comparison), found.lease, config, draft)


def offered(ledger: Ledger, config: QueueConfig, today: int) -> dict[str, Any]:
    """Return what a labeler sees of a queue."""
    return {
        "name": config.name,
        "kind": "demonstration" if config.name == queues.DEMONSTRATION else "comparison",
        "waiting": leases.waiting(ledger, config.name),
        "needs": config.needs,
        "today": today,
        "daily_goal": config.daily_goal,
        "daily_cap": config.daily_cap,
        "lease_s": config.lease_s,
    }


def origin(ledger: Ledger, item_id: str) -> list[str]:
    """Return the items that a report is about: the one that was held, and the one that it repeats."""
    (comparison,) = comparisons.get_many(ledger, [item_id])
    return [item_id, comparison.check_of] if comparison is not None and comparison.check_of else [item_id]
