"""``GET /v1/versions``: which policies are loaded, under which names, and since when they are live.

Beside ``/v1/models``, which is OpenAI's: this one asks the ledger, and lists candidates for operators only.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from feedback import ids, promotion
from feedback.records import ApiKey
from serve.dependencies import Dependencies
from serve.door.auth import require


def make_router(deps: Dependencies) -> APIRouter:
    """Return the route that lists versions for people."""
    router = APIRouter(tags=["models"])
    caller = Depends(require(deps.keys, "client", "operator"))

    @router.get("/v1/versions")
    def list_versions(key: Annotated[ApiKey, caller]) -> list[dict[str, Any]]:
        """List loaded versions, newest first: their aliases and when they were last made live."""
        names: dict[str, list[str]] = {}
        for name in deps.traffic.names():
            version = deps.traffic.choose(name).version
            names.setdefault(version, []).extend([] if ids.is_policy_version(name) else [name])
        promoted = promotion.promoted_at(deps.ledger)
        return [
            {"version": version, "aliases": aliases, "promoted_at": promoted.get(version)}
            for version, aliases in sorted(names.items(), reverse=True)
            if key.role == "operator" or aliases != ["candidate"]
        ]

    return router
