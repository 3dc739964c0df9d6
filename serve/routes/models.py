"""``GET /v1/models``: the names that a request's ``model`` may have right now."""

from typing import Any

from fastapi import APIRouter, Depends

from serve.dependencies import Dependencies
from serve.door.auth import require


def make_router(deps: Dependencies) -> APIRouter:
    """Return the route that lists models."""
    router = APIRouter(tags=["models"], dependencies=[Depends(require(deps.keys, "client", "operator"))])

    @router.get("/v1/models")
    async def list_models() -> dict[str, Any]:  # on the event loop, where slots do not change between two lines
        """List aliases and versions that a slot holds; ``root`` is the exact version behind a name."""
        data = [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "whetstone",
                "root": deps.traffic.choose(name).version,
            }
            for name in deps.traffic.names()
        ]
        return {"object": "list", "data": data}

    return router
