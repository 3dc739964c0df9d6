"""``/v1/labeling``: what labelers answer, once per submission id; their drafts; their corrections.

Knows which figures are the client's word and which the server's own (how long an item was held, in which order it was
shown, why it was picked). The rules of a ranking, and of once, are the ledger's.
"""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Response

from feedback import comparisons, demonstrations, drafts, guidelines, labels, leases, metrics, prompts
from feedback.client import Ledger, decode
from feedback.errors import LeaseLost, NotFound
from feedback.records import (
    ApiKey,
    Comparison,
    Demonstration,
    Label,
    Lease,
    Prompt,
    QueueConfig,
    Span,
    utc_now,
)
from feedback.submissions import Answer
from serve.asking.schemas import ItemId, body, described
from serve.asking.schemas_answers import AnswerIn, DraftIn, SubmitIn, WriteIn
from serve.dependencies import Dependencies
from serve.door.auth import require
from serve.door.lean import Lean
from serve.errors import InvalidRequest
from serve.routes.gate import Gate
from serve.routes.views import display_order

ANY = QueueConfig(name="any")
"""Rules for an answer to an item that the caller does not hold: a retry was checked the first time."""


def make_router(deps: Dependencies) -> APIRouter:
    """Return the routes of labelers' answers."""
    router = APIRouter(prefix="/v1/labeling", tags=["labeling"], route_class=Lean)
    labeler = Depends(require(deps.keys, "labeler"))
    gate = Gate(deps.ledger, practice_required=False)
    ledger, revise_s = deps.ledger, deps.settings.revise_s

    @router.post("/items/{item_id}/submit", openapi_extra=described(SubmitIn))
    def submit(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[SubmitIn, Depends(body(SubmitIn))]
    ) -> Response:
        """Take a ranking or a demonstration; a repeated submission gets its first answer again, byte for byte.

        The answer comes when it is on disk. One id stands for one answer: another body under it is refused with 409,
        and the first answer kept.
        """
        deps.durability.demand()
        only_one(given)
        if given.response is not None:
            made = to_demonstration(given, prompts.get(ledger, item_id), key)
            answer = demonstrations.submit(ledger, made, given.token)
            return taken(given, answer, "demonstration", revise_s)
        held = Held.find(ledger, gate, item_id, key.owner)
        label = to_label(given, held.comparison, key, held.lease, version_of(ledger, given, gate.guidelines().version))
        answer = labels.submit(ledger, label, held.comparison, given.token, held.config, guidelines.FLAG_NAMES)
        return taken(given, answer, "comparison", revise_s)

    @router.post("/items/{item_id}/demonstration", openapi_extra=described(WriteIn))
    def write(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[WriteIn, Depends(body(WriteIn))]
    ) -> Response:
        """Take the answer that none of a comparison's completions is, once per labeler; the ranking is still due."""
        deps.durability.demand()
        comparison = comparisons.get(ledger, item_id)
        if given.based_on is not None and given.based_on >= len(comparison.completions):
            raise InvalidRequest(f"there is no completion {given.based_on}", "based_on")
        made = Demonstration(
            id=given.submission_id,
            created_at=utc_now(),
            prompt_id=comparison.prompt_id,
            customer=comparison.customer,
            messages=comparison.messages,
            response=given.response,
            labeler=key.owner,
            split=comparison.split,
            comparison_id=comparison.id,
            source="comparison",
            based_on=given.based_on,
        )
        return taken(given, demonstrations.submit(ledger, made, given.token), "demonstration", revise_s)

    @router.put("/items/{item_id}/draft", openapi_extra=described(DraftIn))
    def draft(
        item_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[DraftIn, Depends(body(DraftIn))]
    ) -> dict[str, str]:
        """Keep what a labeler has so far, for a week; `next` gives it back with the item."""
        lease = leases.held(ledger, item_id, key.owner)
        if lease is None or lease.token != given.token:
            raise LeaseLost(f"the lease of {item_id} is gone; your draft was not kept here")
        drafts.put(ledger, key.owner, item_id, msgspec.json.encode(given.draft).decode())
        return {"id": item_id}

    return router


class Held(msgspec.Struct, frozen=True):
    """A comparison as one labeler holds it."""

    comparison: Comparison
    lease: Lease | None
    config: QueueConfig

    @classmethod
    def find(cls, ledger: Ledger, gate: Gate, item_id: str, labeler: str) -> "Held":
        """Return it; without a lease, and with lenient rules, if this labeler does not hold it.

        Raises:
            NotFound: no such comparison.
        """
        found = leases.in_hand(ledger, item_id, labeler)
        if found.record is None:
            raise NotFound(f"no comparison {item_id!r}")
        config = gate.config(found.queue) if found.lease is not None and found.queue else ANY
        return cls(decode(found.record, Comparison), found.lease, config)


def only_one(given: AnswerIn) -> None:
    """Raise `InvalidRequest` unless exactly one answer is given."""
    ranked = given.ranking is not None or given.outcome != "ranked"
    if ranked == (given.response is not None):
        raise InvalidRequest("send either `ranking` (comparison) or `response` (demonstration)", "ranking")


def version_of(ledger: Ledger, given: AnswerIn, current: str = "") -> str:
    """Return the version of the guidelines that a labeler had before them, by default the ``current`` one.

    Raises:
        InvalidRequest: there is no such version, or no such flag set.
    """
    if given.flag_set_version not in ("", guidelines.FLAG_SET_VERSION):
        raise InvalidRequest(
            f"flag set {given.flag_set_version!r} is not the present one, {guidelines.FLAG_SET_VERSION}; reload",
            "flag_set_version",
        )
    if not given.guideline_version or given.guideline_version == current:
        return current or guidelines.current(ledger).version
    try:
        return guidelines.get(ledger, given.guideline_version).version
    except NotFound as error:
        raise InvalidRequest(str(error), "guideline_version") from error


def taken(
    given: AnswerIn | WriteIn, answer: Answer, kind: str, revise_s: float, until_s: float | None = None
) -> Response:
    """Return what the client is told: the same bytes for the same submission; a header says that it was repeated."""
    if not answer.repeated:
        metrics.labels_total.labels(kind).inc()
    told = {"id": given.submission_id, "revise_until_s": answer.at_s + revise_s if until_s is None else until_s}
    headers = {"Idempotent-Replayed": "true"} if answer.repeated else {}
    return Response(msgspec.json.encode(told), media_type="application/json", headers=headers)


def to_label(given: AnswerIn, comparison: Comparison, key: ApiKey, lease: Lease | None, version: str) -> Label:
    """Return the label that a submission amounts to; what the client claims of time is held to the lease's length."""
    now, k = utc_now(), len(comparison.completions)
    total_s = max(0.0, round(now.timestamp() - lease.leased_at_s, 3)) if lease and lease.leased_at_s else 0.0
    ranking = given.ranking or []
    if given.outcome != "ranked" and not ranking:
        ranking = labels.verdict_on_all(k)
    return Label(
        id=given.submission_id,
        created_at=now,
        comparison_id=comparison.id,
        labeler=key.owner,
        labeler_group=key.group,
        purpose=comparison.purpose,
        outcome=given.outcome,
        ranking=ranking,
        quality=given.quality,
        flags=dict(given.flags),
        spans=[Span(completion=each.completion, start=each.start, end=each.end) for each in given.spans],
        note=given.note,
        active_s=min(given.active_s, total_s),
        total_s=total_s,
        read_s=[min(each, total_s) for each in given.read_s],
        input=given.input,
        proposal=given.proposal,
        display_order=display_order(comparison.id, key.owner, k),
        picked=lease.picked if lease else "",
        guideline_version=version,
        flag_set_version=guidelines.FLAG_SET_VERSION,
    )


def to_demonstration(given: AnswerIn, prompt: Prompt, key: ApiKey) -> Demonstration:
    """Return the demonstration that a submission amounts to."""
    return Demonstration(
        id=given.submission_id,
        created_at=utc_now(),
        prompt_id=prompt.id,
        customer=prompt.customer,
        messages=prompt.messages,
        response=given.response or "",
        labeler=key.owner,
        split=prompt.split,
    )
