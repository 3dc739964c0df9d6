"""``/v1/labeling``: items for labelers, leased one at a time, answered once.

Knows what a labeler may see (the prompt and the texts, in an order of their own) and what they may not (which policy
wrote what). Queueing, leases and the rules of a ranking are the ledger's.
"""

import hashlib
import random
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Response

from feedback import comparisons, demonstrations, labels, leases, metrics, prompts
from feedback.log import get
from feedback.records import ApiKey, Comparison, Completion, Demonstration, Label, Lease, Prompt, utc_now
from serve.asking.schemas import HeartbeatIn, ItemId, NextIn, SkipIn, SubmitIn, body, described
from serve.dependencies import Dependencies
from serve.door.auth import require
from serve.errors import InvalidRequest
from serve.tally import Tally

log = get(__name__)


def make_router(deps: Dependencies) -> APIRouter:
    """Return the labelers' routes."""
    router = APIRouter(prefix="/v1/labeling", tags=["labeling"])
    labeler = Depends(require(deps.keys, "labeler"))
    tally = Tally(deps.ledger)

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
        lease = leases.lease(deps.ledger, given.queue, key.owner)
        if lease is None:
            return Response(status_code=204)
        if given.queue == demonstrations.QUEUE:
            return shown_prompt(prompts.get(deps.ledger, lease.item_id), lease)
        return shown_comparison(comparisons.get(deps.ledger, lease.item_id), lease)

    @router.post("/items/{item_id}/heartbeat", openapi_extra=described(HeartbeatIn))
    def heartbeat(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[HeartbeatIn, Depends(body(HeartbeatIn))]
    ) -> dict[str, float]:
        """Keep a lease alive and say until when."""
        return {"deadline_s": leases.renew(deps.ledger, item_id, key.owner, given.token)}

    @router.post("/items/{item_id}/submit", openapi_extra=described(SubmitIn))
    def submit(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[SubmitIn, Depends(body(SubmitIn))]
    ) -> dict[str, Any]:
        """Take a ranking or a demonstration; a repeated submission gets its first answer again."""
        if (given.ranking is None) == (given.response is None):
            raise InvalidRequest("send either `ranking` (comparison) or `response` (demonstration)", "ranking")
        if given.response is not None:
            prompt = prompts.get(deps.ledger, item_id)
            answer = demonstrations.submit(deps.ledger, to_demonstration(given, prompt, key), given.token)
        else:
            comparison = comparisons.get(deps.ledger, item_id)
            answer = labels.submit(deps.ledger, to_label(given, comparison, key), comparison, given.token)
        if not answer.repeated:
            metrics.labels_total.labels("comparison" if given.response is None else "demonstration").inc()
        return {"id": given.submission_id, "repeated": answer.repeated}

    @router.post("/items/{item_id}/skip", openapi_extra=described(SkipIn))
    def skip(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[SkipIn, Depends(body(SkipIn))]
    ) -> dict[str, str]:
        """Give an item back; it is not offered to this labeler again."""
        leases.release(deps.ledger, item_id, key.owner, given.token)
        metrics.labels_total.labels("skip").inc()
        log.info("item skipped", item=item_id, key=key.id)
        return {"id": item_id}

    @router.get("/me")
    def me(key: Annotated[ApiKey, labeler]) -> dict[str, Any]:
        """Count the caller's own work."""
        return {"labeler": key.owner, "group": key.group, **tally.of(key.owner)}

    return router


def shown_comparison(comparison: Comparison, lease: Lease) -> dict[str, Any]:
    """Return what a labeler sees of a comparison: texts in an order of their own, nothing of who wrote them."""
    completions = [shown(index, each) for index, each in enumerate(comparison.completions)]
    random.Random(view_seed(lease.item_id, lease.labeler)).shuffle(completions)
    return {
        "item_id": lease.item_id,
        "kind": "comparison",
        "token": lease.token,
        "deadline_s": lease.deadline_s,
        "messages": [msgspec.structs.asdict(message) for message in comparison.messages],
        "completions": completions,
    }


def shown(index: int, completion: Completion) -> dict[str, Any]:
    """Return what a labeler sees of one completion."""
    return {"index": index, "text": completion.text, "finished": completion.finished}


def shown_prompt(prompt: Prompt, lease: Lease) -> dict[str, Any]:
    """Return what a labeler sees of a request for a demonstration."""
    return {
        "item_id": lease.item_id,
        "kind": "demonstration",
        "token": lease.token,
        "deadline_s": lease.deadline_s,
        "messages": [msgspec.structs.asdict(message) for message in prompt.messages],
        "completions": [],
    }


def view_seed(item_id: str, labeler: str) -> int:
    """Return the seed of a view's order: the same for each look of one labeler, independent between labelers."""
    return int.from_bytes(hashlib.sha256(f"{item_id}\n{labeler}".encode()).digest()[:8])


def to_label(given: SubmitIn, comparison: Comparison, key: ApiKey) -> Label:
    """Return the label that a submission amounts to."""
    return Label(
        id=given.submission_id,
        created_at=utc_now(),
        comparison_id=comparison.id,
        labeler=key.owner,
        labeler_group=key.group,
        ranking=given.ranking or [],
        quality=given.quality,
        flags=dict(given.flags),
        note=given.note,
        active_s=given.active_s,
    )


def to_demonstration(given: SubmitIn, prompt: Prompt, key: ApiKey) -> Demonstration:
    """Return the demonstration that a submission amounts to."""
    return Demonstration(
        id=given.submission_id,
        created_at=utc_now(),
        prompt_id=prompt.id,
        customer=prompt.customer,
        messages=prompt.messages,
        response=given.response or "",
        labeler=key.owner,
        split=prompt.split,
    )
