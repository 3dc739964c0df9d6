"""``/v1/labeling/prompts`` and ``/v1/labeling/demonstrations``: what a labeler wrote, and what became of it.

A prompt is drafted here, saved as often as its writer pauses, and submitted; demonstrations are leased and submitted
like every item (`serve.routes.labeling`), and written again here when a reviewer returned them.
"""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Response

from feedback import demonstration_reviews, demonstrations, keys, labelers, submissions, writing
from feedback.client import Ledger
from feedback.errors import Conflict, NotFound
from feedback.records import ApiKey, Demonstration, DemonstrationReview, Shot, WrittenPrompt, utc_now
from feedback.submissions import Found
from feedback.written_items import problem
from serve.asking.schemas import ItemId, body, described
from serve.asking.schemas_writing import EditIn, MoveIn, NewPromptIn, RewriteIn, WritingIn
from serve.dependencies import Dependencies
from serve.door.auth import require

RECENT = 200
"""How far back a labeler's own answers are looked through."""


def make_router(deps: Dependencies) -> APIRouter:
    """Return the routes of the writing page."""
    router = APIRouter(prefix="/v1/labeling", tags=["labeling"])
    labeler = Depends(require(deps.keys, "labeler"))
    _add_prompts(router, deps, labeler)
    _add_demonstrations(router, deps, labeler)
    return router


def _add_prompts(router: APIRouter, deps: Dependencies, labeler: Any) -> None:
    ledger = deps.ledger

    @router.get("/prompts")
    def list_prompts(key: Annotated[ApiKey, labeler]) -> list[dict[str, Any]]:
        """Return the caller's written prompts, the latest first."""
        return [shown(each) for each in writing.written_by(ledger, key.owner)]

    @router.post("/prompts", openapi_extra=described(NewPromptIn))
    def begin(
        key: Annotated[ApiKey, labeler], given: Annotated[NewPromptIn, Depends(body(NewPromptIn))]
    ) -> dict[str, Any]:
        """Begin a prompt; repeated with the same submission id, it returns what is stored."""
        labelers.admit(labelers.standing(ledger, key.owner))
        id = f"wri_{given.submission_id.replace('-', '').lower()}"
        draft = WrittenPrompt(id=id, created_at=utc_now(), labeler=key.owner, **content(given))
        return shown(writing.begin(ledger, draft))

    @router.get("/prompts/{item_id}")
    def read(item_id: ItemId, key: Annotated[ApiKey, labeler]) -> dict[str, Any]:
        """Return one of the caller's prompts with all of its revisions, the oldest first."""
        written = writing.mine(ledger, item_id, key.owner)
        return {**shown(written), "history": [shown(each) for each in writing.history(ledger, item_id)]}

    @router.put("/prompts/{item_id}", openapi_extra=described(EditIn))
    def edit(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[EditIn, Depends(body(EditIn))]
    ) -> dict[str, Any]:
        """Save a draft as the next revision; refused if there is a newer one than the caller has seen."""
        return shown(writing.edit(ledger, item_id, key.owner, given.revision, **content(given)))

    @router.post("/prompts/{item_id}/submit", openapi_extra=described(MoveIn))
    def submit(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[MoveIn, Depends(body(MoveIn))]
    ) -> dict[str, Any]:
        """Hand a draft to the reviewers."""
        labelers.admit(labelers.standing(ledger, key.owner))
        return shown(writing.submit(ledger, item_id, key.owner, given.revision))

    @router.post("/prompts/{item_id}/withdraw", openapi_extra=described(MoveIn))
    def withdraw(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[MoveIn, Depends(body(MoveIn))]
    ) -> dict[str, Any]:
        """Take a submitted prompt back to change it, unless a reviewer was faster."""
        return shown(writing.withdraw(ledger, item_id, key.owner, given.revision))

    @router.delete("/prompts/{item_id}", status_code=204)
    def delete(item_id: ItemId, key: Annotated[ApiKey, labeler]) -> Response:
        """Delete a draft, or a prompt that was returned, with all of its revisions."""
        writing.delete(ledger, item_id, key.owner)
        return Response(status_code=204)


def _add_demonstrations(router: APIRouter, deps: Dependencies, labeler: Any) -> None:
    ledger = deps.ledger

    @router.get("/demonstrations")
    def list_demonstrations(key: Annotated[ApiKey, labeler]) -> list[dict[str, Any]]:
        """Return the caller's demonstrations of the last month, the latest first, with revisions and reviews."""
        said = demonstration_reviews.latest(ledger)
        return [shown_demonstration(revisions, said) for revisions in own(ledger, key.owner)]

    @router.post("/demonstrations/{item_id}/revise", openapi_extra=described(RewriteIn))
    def rewrite(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[RewriteIn, Depends(body(RewriteIn))]
    ) -> dict[str, Any]:
        """Write a demonstration again that a reviewer returned; it is then reviewed anew."""
        deps.durability.demand()
        found = submissions.find(ledger, item_id)
        if found is None or (found.labeler, found.stream) != (key.owner, keys.DEMONSTRATIONS):
            raise NotFound(f"no demonstration {item_id!r}")
        revisions = taken(ledger, item_id, found)
        last = revisions[-1]
        if last.id != given.submission_id:
            review = demonstration_reviews.latest(ledger).get(last.id)
            if review is None or review.verdict != "returned":
                raise Conflict("only a demonstration that a reviewer returned is written again here")
            changes = {"id": given.submission_id, "created_at": utc_now(), "response": given.response}
            last = msgspec.structs.replace(last, **changes, revision=last.revision + 1, revision_of=item_id)
        answer = demonstrations.revise(ledger, last, revise_s=keys.MONTH_S)
        return {"id": last.id, "revision": last.revision, "repeated": answer.repeated}


def content(given: WritingIn) -> dict[str, Any]:
    """Return what a body says of a prompt, as the fields of its record."""
    shots = [Shot(query=each.query, response=each.response) for each in given.shots]
    return {"kind": given.kind, "use_case": given.use_case, "text": given.text, "shots": shots}


def shown(written: WrittenPrompt) -> dict[str, Any]:
    """Return a written prompt without the names of its writer and its reviewer, and what it still lacks."""
    found = msgspec.to_builtins(written)
    return {name: found[name] for name in found if name not in ("labeler", "reviewer")} | {"problem": problem(written)}


def own(ledger: Ledger, labeler: str) -> list[list[Demonstration]]:
    """Return a labeler's recent demonstrations, the latest first, each as the list of its revisions."""
    found = [(id, submissions.find(ledger, id)) for id in submissions.recent(ledger, labeler, RECENT)]
    return [taken(ledger, id, at) for id, at in found if at is not None and at.stream == keys.DEMONSTRATIONS]


def taken(ledger: Ledger, id: str, found: Found) -> list[Demonstration]:
    """Return the demonstration with this id and its corrections, the oldest first."""
    every = submissions.of_item(ledger, keys.DEMONSTRATIONS, found.item_id, Demonstration)
    return [each for _, each in every if submissions.root(each) == id]


def revisions_of(ledger: Ledger, demonstration: Demonstration) -> list[Demonstration]:
    """Return all revisions up to this one, the oldest first; looks further only if there are earlier ones."""
    if not demonstration.revision:
        return [demonstration]
    item_id, id = demonstrations.item_of(demonstration), submissions.root(demonstration)
    every = submissions.of_item(ledger, keys.DEMONSTRATIONS, item_id, Demonstration)
    return [each for _, each in every if submissions.root(each) == id] or [demonstration]


def shown_demonstration(revisions: list[Demonstration], said: dict[str, DemonstrationReview]) -> dict[str, Any]:
    """Return a demonstration with its revisions, each with what a reviewer said of it."""
    last = revisions[-1]
    return {
        "id": submissions.root(last),
        "messages": [msgspec.structs.asdict(message) for message in last.messages],
        "source": last.source,
        "response": last.response,
        "state": said[last.id].verdict if last.id in said else "waiting",
        "history": [
            {
                "id": each.id,
                "created_at": each.created_at,
                "response": each.response,
                "verdict": said[each.id].verdict if each.id in said else "",
                "comment": said[each.id].comment if each.id in said else "",
            }
            for each in revisions
        ],
    }
