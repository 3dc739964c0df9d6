"""``GET /v1/me``: who the caller is here and what is left of its limits."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends

from feedback.records import ApiKey
from serve.dependencies import Dependencies
from serve.door.auth import require


def make_router(deps: Dependencies) -> APIRouter:
    """Return the route that tells callers of themselves."""
    router = APIRouter(tags=["account"])
    anybody = Depends(require(deps.keys, "client", "labeler", "operator", "metrics"))

    @router.get("/v1/me")
    async def me(key: Annotated[ApiKey, anybody]) -> dict[str, Any]:
        """Return the caller's name, role, consent and limits; a limit of null is none."""
        await deps.quotas.learn(key.id)
        return {
            "owner": key.owner,
            "role": key.role,
            "key_id": key.id,
            "consent": key.consent,
            "limits": msgspec.to_builtins(deps.quotas.left(key)),
        }

    return router
