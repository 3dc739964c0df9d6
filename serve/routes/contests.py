"""``/v1/operations/contests``: two policies judged blind against each other, and how that stands.

Parses and calls the ledger's moves; which prompts, and what a win is, are `feedback.contests`' and
`feedback.contest_results`'.
"""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query

from feedback import contest_results, contests
from feedback.records import ApiKey
from serve.asking.schemas import body, described
from serve.asking.schemas_contests import ContestIn
from serve.dependencies import Dependencies
from serve.door.auth import require

Limit = Annotated[int, Query(ge=1, le=100)]


def make_router(deps: Dependencies) -> APIRouter:
    """Return the contests' routes."""
    router = APIRouter(prefix="/v1/operations", tags=["operations"])
    operator = Depends(require(deps.keys, "operator"))

    @router.get("/contests", dependencies=[operator])
    def show(limit: Limit = 20) -> dict[str, Any]:
        """Return the newest contests with their win rates, ties as half, newest first.

        The interval is 95 % over prompts; both bounds are null where all prompts say the same.
        """
        newest = contests.list_contests(deps.ledger)[::-1][:limit]
        return {"contests": [msgspec.to_builtins(contest_results.result(deps.ledger, each)) for each in newest]}

    @router.post("/contests", openapi_extra=described(ContestIn))
    def start(
        key: Annotated[ApiKey, operator], given: Annotated[ContestIn, Depends(body(ContestIn))]
    ) -> dict[str, Any]:
        """Let labelers judge `a` against `b` on prompts of held-out customers, before all other items.

        Both must be served now: live, previous, or as a canary (with a share of 0 if nobody is to be routed to it).
        """
        contest = contests.start(
            deps.ledger,
            given.a,
            given.b,
            prompts=given.prompts,
            overlap=given.overlap,
            actor=key.owner,
            reason=given.reason,
        )
        return {"contest": msgspec.to_builtins(contest)}

    return router
