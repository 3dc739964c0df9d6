"""``/v1/shares``: show one logged conversation to others, read-only and for a while.

Whoever knows a share's id may read it, without a key. What was not logged cannot be shared.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Response

from feedback import shares
from feedback.errors import Conflict
from feedback.records import ApiKey, Share
from serve.answering import answers
from serve.asking.schemas import ShareId, ShareIn, body, described
from serve.dependencies import Dependencies
from serve.door.auth import require
from serve.errors import InvalidRequest


def make_router(deps: Dependencies) -> APIRouter:
    """Return the routes of shared conversations."""
    router = APIRouter(prefix="/v1/shares", tags=["shares"])
    customer = Depends(require(deps.keys, "client", "operator"))

    @router.post("", openapi_extra=described(ShareIn))
    def create(
        key: Annotated[ApiKey, customer], given: Annotated[ShareIn, Depends(body(ShareIn))]
    ) -> dict[str, str | datetime]:
        """Share a copy of the conversation up to one answer; the link is `/share#<id>`."""
        if given.days > deps.settings.share_days:
            raise InvalidRequest(f"days: at most {deps.settings.share_days}", "days")
        answer = answers.own(deps, given.interaction_id, key)
        if not answer.finish_reason:
            raise Conflict(f"answer {answer.id} is not complete; wait for it")
        return _listed(shares.create(deps.ledger, answer, given.days))

    @router.get("")
    def own(key: Annotated[ApiKey, customer]) -> list[dict[str, str | datetime]]:
        """Return what the caller shares now, oldest first."""
        return [_listed(share) for share in shares.of_customer(deps.ledger, key.owner)]

    @router.delete("/{id}", status_code=204)
    def take_back(id: ShareId, key: Annotated[ApiKey, customer]) -> None:
        """End a share of the caller's."""
        shares.take_back(deps.ledger, id, key.owner)

    @router.get("/{id}")
    def read(id: ShareId, response: Response) -> dict[str, Any]:
        """Return a shared conversation; needs no key."""
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Robots-Tag"] = "noindex"
        share = shares.get(deps.ledger, id)
        return {
            "messages": [msgspec.structs.asdict(message) for message in share.messages],
            "completion": share.completion,
            "created_at": share.created_at,
            "expires_at": share.expires_at,
        }

    return router


def _listed(share: Share) -> dict[str, str | datetime]:
    return {
        "id": share.id,
        "interaction_id": share.interaction_id,
        "created_at": share.created_at,
        "expires_at": share.expires_at,
    }
