"""``POST /v1/feedback``: what customers say of the answers they got.

Takes a rating, reasons, a comment, an edit or a comparison once per client-made id; what becomes of them is decided
where prompts are planned and snapshots built.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from msgspec import UNSET

from feedback import interactions, keys, metrics, tallies, votes
from feedback.curation import prompt_id, rules_of, split_of
from feedback.errors import Conflict, RateLimited
from feedback.ids import new_id
from feedback.records import ApiKey, Rating, utc_now
from serve.answering import answers
from serve.asking.schemas import FeedbackIn, body, described
from serve.dependencies import Dependencies
from serve.door.auth import require
from serve.errors import InvalidRequest


def make_router(deps: Dependencies) -> APIRouter:
    """Return the feedback route."""
    router = APIRouter(tags=["feedback"])
    customer = Depends(require(deps.keys, "client", "operator"))

    @router.post("/v1/feedback", openapi_extra=described(FeedbackIn))
    def tell(
        key: Annotated[ApiKey, customer], given: Annotated[FeedbackIn, Depends(body(FeedbackIn))]
    ) -> dict[str, Any]:
        """Take a rating, comment, edit or comparison of the caller's own answers; the same `id` counts once.

        Another id for the same answer is a new entry: the newest rating holds, earlier ones stay in the history. A
        verdict on two answers is not changed afterwards.
        """
        count, left_s = tallies.add(deps.ledger, "feedback", key.id, tallies.MINUTE_S)
        if count > deps.settings.feedback_per_minute:
            raise RateLimited(f"a key may send feedback {deps.settings.feedback_per_minute} times a minute", left_s)
        shown_id = given.id or new_id("rat")
        if given.better is not UNSET or given.worse is not UNSET:
            return {"id": shown_id, "taken": _compare(deps, key, given, shown_id)}
        return {"id": shown_id, "taken": _rate(deps, key, given, shown_id)}

    return router


def _rate(deps: Dependencies, key: ApiKey, given: FeedbackIn, shown_id: str) -> bool:
    if given.interaction_id is UNSET:
        raise InvalidRequest("interaction_id: say which answer, or send `better` and `worse`", "interaction_id")
    if given.verdict is not UNSET:
        raise InvalidRequest("verdict: goes with `better` and `worse` only", "verdict")
    if given.rating is UNSET and not (given.reasons or given.comment.strip() or given.edit.strip()):
        raise InvalidRequest("rating: send a rating, reasons, a comment or an edit", "rating")
    answer = answers.own(deps, given.interaction_id, key)
    if not answer.completion and answer.finish_reason:
        raise Conflict(f"answer {answer.id} ended before anything of it was shown")
    return interactions.rate(
        deps.ledger,
        Rating(
            id=answers.own_id("rat", key.owner, shown_id),
            created_at=utc_now(),
            interaction_id=answer.id,
            customer=key.owner,
            rating=0 if given.rating is UNSET else given.rating,
            reasons=list(dict.fromkeys(given.reasons)),
            comment=given.comment,
            edit=given.edit,
        ),
    )


def _compare(deps: Dependencies, key: ApiKey, given: FeedbackIn, shown_id: str) -> bool:
    if given.better is UNSET or given.worse is UNSET:
        raise InvalidRequest("better: send both `better` and `worse`", "better" if given.better is UNSET else "worse")
    alone = ("interaction_id", "rating", "reasons", "comment", "edit")
    defaults = FeedbackIn()
    for name in alone:
        if getattr(given, name) != getattr(defaults, name):
            raise InvalidRequest(f"{name}: does not go with a comparison; send it in a call of its own", name)
    better, worse = (answers.own(deps, id, key) for id in (given.better, given.worse))
    pair_id = answers.own_id("cmp", key.owner, "\n".join(sorted([better.id, worse.id])))
    split = split_of(key.owner, rules_of(deps.settings))
    comparison = votes.to_comparison(pair_id, prompt_id(better.id), split, better, worse)
    verdict: votes.Verdict = "a" if given.verdict is UNSET else given.verdict
    label = votes.to_label(answers.own_id("vot", key.owner, shown_id), comparison, verdict, blind=False)
    taken = votes.take(deps.ledger, comparison, label, keys.submission(pair_id))
    if taken:
        metrics.labels_total.labels("vote").inc()
    return taken
