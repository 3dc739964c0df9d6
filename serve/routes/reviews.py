"""``/v1/operations``: what waits for a reviewer - items, written prompts, demonstrations - and the reviewer's word.

A reviewer sees what labelers said and never who they were.
"""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends
from msgspec import UNSET

from feedback import comparisons, demonstration_reviews, labels, prompts, reviews, writing
from feedback.client import Ledger
from feedback.curation import rules_of
from feedback.errors import Conflict, NotFound
from feedback.records import ApiKey, Comparison, Label, Message, Review
from serve.asking.schemas import ItemId, body, described
from serve.asking.schemas_writing import DemonstrationVerdictIn, ResolveIn, VerdictIn
from serve.dependencies import Dependencies
from serve.door.auth import require
from serve.errors import InvalidRequest
from serve.routes.writing import revisions_of, shown_demonstration
from serve.routes.writing import shown as shown_written


def make_router(deps: Dependencies) -> APIRouter:
    """Return the reviewers' routes."""
    router = APIRouter(prefix="/v1/operations", tags=["operations"])
    operator = Depends(require(deps.keys, "operator"))
    _add_items(router, deps.ledger, operator)
    _add_written(router, deps, operator)
    _add_demonstrations(router, deps.ledger, operator)
    return router


def _add_items(router: APIRouter, ledger: Ledger, operator: Any) -> None:
    @router.get("/reviews", dependencies=[operator])
    def list_reviews() -> list[dict[str, Any]]:
        """Return the items that wait for a reviewer, the longest-waiting first."""
        return [msgspec.to_builtins(review) for review in reviews.open_reviews(ledger)]

    @router.get("/reviews/{item_id}", dependencies=[operator])
    def read(item_id: ItemId) -> dict[str, Any]:
        """Return an item under review: the conversation, the answers, and what labelers said, without names."""
        return shown_item(ledger, reviews.get(ledger, item_id))

    @router.post("/reviews/{item_id}", openapi_extra=described(ResolveIn))
    def resolve(
        item_id: ItemId, key: Annotated[ApiKey, operator], given: Annotated[ResolveIn, Depends(body(ResolveIn))]
    ) -> dict[str, Any]:
        """Rank an item for good, put it back into its queue, or discard it; the first word counts."""
        [comparison] = comparisons.get_many(ledger, [item_id])
        ranking = final_ranking(given, comparison) if given.verdict == "ranked" else None
        seen = [label.id for label in labels.of(ledger, item_id)]
        done = reviews.resolve(
            ledger,
            item_id,
            given.verdict,
            key.owner,
            ranking=ranking,
            outcome=given.outcome,
            note=given.note,
            labels=seen,
        )
        return msgspec.to_builtins(done)  # type: ignore[no-any-return]  # a struct becomes a dict


def _add_written(router: APIRouter, deps: Dependencies, operator: Any) -> None:
    ledger = deps.ledger
    rules = rules_of(deps.settings)

    @router.get("/written", dependencies=[operator])
    def list_written() -> list[dict[str, Any]]:
        """Return the written prompts that wait for a reviewer, the longest-waiting first."""
        return [shown_written(each) for each in writing.submitted(ledger)]

    @router.get("/written/{item_id}", dependencies=[operator])
    def read_written(item_id: ItemId) -> dict[str, Any]:
        """Return a written prompt with all of its revisions, the oldest first."""
        history = [shown_written(each) for each in writing.history(ledger, item_id)]
        return {**shown_written(writing.get(ledger, item_id)), "history": history}

    @router.post("/written/{item_id}/accept", openapi_extra=described(VerdictIn))
    def accept(
        item_id: ItemId, key: Annotated[ApiKey, operator], given: Annotated[VerdictIn, Depends(body(VerdictIn))]
    ) -> dict[str, Any]:
        """Take a prompt into the pool, all of its training items or none."""
        return shown_written(writing.accept(ledger, item_id, given.revision, key.owner, given.comment, rules))

    def send_back(item_id: str, key: ApiKey, given: VerdictIn, verdict: Literal["returned", "rejected"]) -> Any:
        return shown_written(writing.send_back(ledger, item_id, given.revision, verdict, key.owner, given.comment))

    @router.post("/written/{item_id}/return", openapi_extra=described(VerdictIn))
    def give_back(
        item_id: ItemId, key: Annotated[ApiKey, operator], given: Annotated[VerdictIn, Depends(body(VerdictIn))]
    ) -> Any:
        """Return a prompt to its writer with a comment."""
        return send_back(item_id, key, given, "returned")

    @router.post("/written/{item_id}/reject", openapi_extra=described(VerdictIn))
    def reject(
        item_id: ItemId, key: Annotated[ApiKey, operator], given: Annotated[VerdictIn, Depends(body(VerdictIn))]
    ) -> Any:
        """Reject a prompt for good."""
        return send_back(item_id, key, given, "rejected")


def _add_demonstrations(router: APIRouter, ledger: Ledger, operator: Any) -> None:
    @router.get("/demonstrations", dependencies=[operator])
    def list_demonstrations() -> list[dict[str, Any]]:
        """Return the demonstrations that nobody has reviewed, the oldest first, with what was said of earlier ones."""
        said = demonstration_reviews.latest(ledger)
        return [
            {**shown_demonstration(revisions_of(ledger, each), said), "id": each.id, "revision": each.revision}
            for each in demonstration_reviews.waiting(ledger)
        ]

    @router.post("/demonstrations/{item_id}/review", openapi_extra=described(DemonstrationVerdictIn))
    def review(
        item_id: ItemId,
        key: Annotated[ApiKey, operator],
        given: Annotated[DemonstrationVerdictIn, Depends(body(DemonstrationVerdictIn))],
    ) -> dict[str, Any]:
        """Accept, return or reject a demonstration; returned and rejected ones never train."""
        made = demonstration_reviews.review(ledger, item_id, given.verdict, key.owner, given.comment)
        return msgspec.to_builtins(made)  # type: ignore[no-any-return]  # a struct becomes a dict


def final_ranking(given: ResolveIn, comparison: Comparison | None) -> list[list[int]]:
    """Return the reviewer's ranking of a comparison: every completion once.

    Raises:
        Conflict: the item is no comparison, or is gone.
        InvalidRequest: the ranking does not fit.
    """
    if comparison is None:
        raise Conflict("only a comparison can be ranked; reopen or discard this item")
    k = len(comparison.completions)
    if given.outcome != "ranked":
        return labels.verdict_on_all(k)
    ranking = [] if given.ranking is UNSET else [list(group) for group in given.ranking]
    if sorted(index for group in ranking for index in group) != list(range(k)) or not all(ranking):
        raise InvalidRequest(f"ranking: name each of 0..{k - 1} exactly once, in tie groups, best first", "ranking")
    return ranking


def shown_item(ledger: Ledger, review: Review) -> dict[str, Any]:
    """Return an item under review with all that a reviewer needs, and no names."""
    [comparison] = comparisons.get_many(ledger, [review.item_id])
    found: dict[str, Any] = {
        **msgspec.to_builtins(review),
        "slots_left": reviews.slots_left(ledger, review.item_id),
        "kind": "comparison" if comparison else "demonstration",
        "completions": [],
        "labels": [],
    }
    if comparison is None:
        return {**found, "messages": plain(_messages(ledger, review.item_id))}
    return {
        **found,
        "messages": plain(comparison.messages),
        "purpose": comparison.purpose,
        "completions": [
            {"index": index, "text": each.text, "finished": each.finished}
            for index, each in enumerate(comparison.completions)
        ],
        "labels": [anonymous(label) for label in labels.of(ledger, comparison.id)],
    }


def _messages(ledger: Ledger, prompt_id: str) -> list[Message]:
    """Return the conversation of a request for a demonstration, which has its prompt's id; empty if it is gone."""
    try:
        return prompts.get(ledger, prompt_id).messages
    except NotFound:
        return []


def anonymous(label: Label) -> dict[str, Any]:
    """Return what a label says and nothing of who gave it."""
    return {
        "outcome": label.outcome,
        "ranking": label.ranking,
        "quality": label.quality,
        "flags": label.flags,
        "note": label.note,
    }


def plain(messages: list[Message]) -> list[dict[str, str]]:
    """Return a conversation as plain values."""
    return [msgspec.structs.asdict(message) for message in messages]
