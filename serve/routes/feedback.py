"""``POST /v1/feedback``: what customers say of the answers they got.

Takes a rating once per client-made id; what becomes of ratings is the trainer's business.
"""

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from feedback import interactions
from feedback.errors import NotFound
from feedback.ids import new_id
from feedback.records import ApiKey, Interaction, Rating, utc_now
from serve.auth import require
from serve.dependencies import Dependencies
from serve.schemas import FeedbackIn, body, described


def make_router(deps: Dependencies) -> APIRouter:
    """Return the feedback route."""
    router = APIRouter(tags=["feedback"])
    customer = Depends(require(deps.keys, "client", "operator"))

    @router.post("/v1/feedback", openapi_extra=described(FeedbackIn))
    def rate(
        key: Annotated[ApiKey, customer], given: Annotated[FeedbackIn, Depends(body(FeedbackIn))]
    ) -> dict[str, Any]:
        """Take a rating, comment or edit of one of the caller's own answers."""
        interaction = answered(deps, given.interaction_id)
        if interaction is None or interaction.customer != key.owner:
            raise NotFound(f"no interaction {given.interaction_id!r} of yours; send the `id` of an answer you got")
        shown_id = given.id or new_id("rat")
        taken = interactions.rate(
            deps.ledger,
            Rating(
                id=own_id(key.owner, shown_id),
                created_at=utc_now(),
                interaction_id=interaction.id,
                customer=key.owner,
                rating=given.rating,
                comment=given.comment,
                edit=given.edit,
            ),
        )
        return {"id": shown_id, "taken": taken}

    return router


def answered(deps: Dependencies, interaction_id: str) -> Interaction | None:
    """Return an interaction, also while it is still on its way into the ledger."""
    pending = deps.recorder.pending(interaction_id)
    if pending is not None:
        return pending
    try:
        return interactions.get(deps.ledger, interaction_id)
    except NotFound:
        # relayed between the two looks
        return deps.recorder.pending(interaction_id)


def own_id(owner: str, shown_id: str) -> str:
    """Return the id under which a customer's rating is stored, so that no customer can take another's id."""
    return "rat_" + hashlib.sha256(f"{owner}\n{shown_id}".encode()).hexdigest()[:32]
