"""``/v1/operations/canary``: route a share of the callers of ``live`` to another policy, and end that.

Parses and calls the ledger's moves; who is routed, and when a canary ends by itself, is `serve.swapping.canary`'s.
"""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends

from feedback import canary
from feedback.errors import Conflict
from feedback.records import ApiKey
from serve.asking.schemas import CanaryEndIn, CanaryIn, body, described
from serve.dependencies import Dependencies
from serve.door.auth import require


def make_router(deps: Dependencies) -> APIRouter:
    """Return the canary's routes."""
    router = APIRouter(prefix="/v1/operations", tags=["operations"])
    operator = Depends(require(deps.keys, "operator"))

    @router.post("/canary", openapi_extra=described(CanaryIn))
    def begin(key: Annotated[ApiKey, operator], given: Annotated[CanaryIn, Depends(body(CanaryIn))]) -> dict[str, Any]:
        """Route `share` percent of the callers of `live` to a policy; 0 loads it and routes nobody to it.

        Called again for the same policy it changes the share. Promoting any policy and rolling back end it.
        """
        if deps.settings.engine != "none" and deps.settings.slots == 1:
            raise Conflict("a canary needs a slot beside the live one; this process has one slot")
        begun = canary.begin(deps.ledger, given.version, given.share, key.owner, given.reason)
        return {"canary": msgspec.to_builtins(begun)}

    @router.delete("/canary", openapi_extra=described(CanaryEndIn, required=False))
    def end(
        key: Annotated[ApiKey, operator],
        given: Annotated[CanaryEndIn, Depends(body(CanaryEndIn, optional=True))],
    ) -> dict[str, Any]:
        """Route nobody to the canary any more; what it is answering is finished."""
        return {"ended": msgspec.to_builtins(canary.end(deps.ledger, key.owner, given.reason))}

    return router
