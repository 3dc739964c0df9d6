"""``/v1/labeling/practice``: items with a known answer, for labelers who begin; nothing here becomes a label."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends

from feedback import practice
from feedback.records import ApiKey
from serve.asking.schemas import ItemId, body, described
from serve.asking.schemas_writing import PracticeIn
from serve.dependencies import Dependencies
from serve.door.auth import require


def make_router(deps: Dependencies) -> APIRouter:
    """Return the routes of practice."""
    router = APIRouter(prefix="/v1/labeling/practice", tags=["labeling"])
    labeler = Depends(require(deps.keys, "labeler"))
    pass_percent = deps.settings.practice_pass_percent

    def state(owner: str) -> dict[str, Any]:
        progress, item = practice.progress(deps.ledger, owner, pass_percent)
        return {**score(progress), "item": None if item is None else shown(item)}

    def score(progress: practice.Progress) -> dict[str, Any]:
        return {**msgspec.structs.asdict(progress), "pass_percent": pass_percent}

    @router.get("")
    def next_item(key: Annotated[ApiKey, labeler]) -> dict[str, Any]:
        """Return the next item that the caller has not answered, null after the last, and how far they are."""
        return state(key.owner)

    @router.post("")
    def start_over(key: Annotated[ApiKey, labeler]) -> dict[str, Any]:
        """Forget the caller's answers and begin again; who has passed stays passed."""
        practice.start_over(deps.ledger, key.owner)
        return state(key.owner)

    @router.post("/{item_id}", openapi_extra=described(PracticeIn))
    def answer(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[PracticeIn, Depends(body(PracticeIn))]
    ) -> dict[str, Any]:
        """Judge a ranking and explain it; the first answer to an item counts."""
        item, wrong, progress = practice.answer(
            deps.ledger, key.owner, item_id, given.ranking, given.outcome, pass_percent
        )
        return {
            "passed": not wrong,
            "expected": item.pairs,
            "wrong": wrong,
            "explanation": item.explanation,
            "score": score(progress),
        }

    return router


def shown(item: practice.Item) -> dict[str, Any]:
    """Return an item as a labeler sees a comparison, in its own order, since its explanation counts the answers."""
    completions = [
        {"index": index, "text": text, "finished": True, "similar_to": None}
        for index, text in enumerate(item.completions)
    ]
    return {
        "id": item.id,
        "kind": "comparison",
        "messages": [msgspec.structs.asdict(message) for message in item.messages],
        "completions": completions,
    }
