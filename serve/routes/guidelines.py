"""Guidelines over HTTP: labelers read and acknowledge them, operators publish.

Which version is in force is the ledger's; rendering is the page's.
"""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends

from feedback import guidelines, labelers
from feedback.errors import Conflict
from feedback.records import ApiKey, Guidelines
from serve.asking.schemas import ItemId, body, described
from serve.asking.schemas_writing import GuidelinesIn
from serve.dependencies import Dependencies
from serve.door.auth import require


def make_router(deps: Dependencies) -> APIRouter:
    """Return the routes of the guidelines."""
    router = APIRouter(prefix="/v1")
    labeler, operator = Depends(require(deps.keys, "labeler")), Depends(require(deps.keys, "operator"))

    @router.get("/labeling/guidelines", tags=["labeling"])
    def read(key: Annotated[ApiKey, labeler]) -> dict[str, Any]:
        """Return the guidelines in force, the flags, and which version the caller has acknowledged."""
        history = guidelines.history(deps.ledger)
        acknowledged = labelers.standing(deps.ledger, key.owner).acknowledged
        current = history[0]
        return {
            **shown(current),
            "text": current.text,
            "acknowledged": acknowledged,
            "to_acknowledge": current.must_acknowledge and acknowledged != current.version,
            "flag_set_version": guidelines.FLAG_SET_VERSION,
            "flags": [msgspec.structs.asdict(flag) for flag in guidelines.FLAGS],
            "history": [shown(each) for each in history],
        }

    @router.post("/labeling/guidelines/{version}/acknowledge", tags=["labeling"])
    def acknowledge(version: ItemId, key: Annotated[ApiKey, labeler]) -> dict[str, str]:
        """Note that the caller has read and agrees to this version, which must be the one in force."""
        found = guidelines.get(deps.ledger, version)
        if guidelines.current(deps.ledger).version != found.version:
            raise Conflict(f"version {version} is not in force any more; read the current guidelines")
        labelers.acknowledge(deps.ledger, key.owner, found.version)
        return {"acknowledged": found.version}

    @router.get("/operations/guidelines", tags=["operations"], dependencies=[operator])
    def history() -> list[dict[str, Any]]:
        """Return all versions with their texts, the one in force first."""
        return [{**shown(each), "text": each.text} for each in guidelines.history(deps.ledger)]

    @router.post("/operations/guidelines", tags=["operations"], openapi_extra=described(GuidelinesIn))
    def publish(
        key: Annotated[ApiKey, operator], given: Annotated[GuidelinesIn, Depends(body(GuidelinesIn))]
    ) -> dict[str, Any]:
        """Put a new version in force."""
        made = guidelines.publish(
            deps.ledger, given.text, given.change, key.owner, must_acknowledge=given.must_acknowledge
        )
        return shown(made)

    return router


def shown(found: Guidelines) -> dict[str, Any]:
    """Return a version without its text."""
    return {
        "version": found.version,
        "created_at": found.created_at,
        "change": found.change,
        "must_acknowledge": found.must_acknowledge,
    }
