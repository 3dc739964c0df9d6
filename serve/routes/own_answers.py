"""``/v1/labeling/labels``: a labeler's own answers of late, to look at and, for a quarter of an hour, to correct.

A correction is a new record that names the first one; nothing that was said is overwritten. What is shown of an item is
what was shown when it was answered; others' answers only where the queue says so.
"""

import time
from typing import Annotated, Any, cast

import msgspec
from fastapi import APIRouter, Depends, Response

from feedback import comparisons, demonstrations, guidelines, keys, labels, queues, submissions
from feedback.client import Ledger
from feedback.errors import NotFound
from feedback.records import ApiKey, Demonstration, Label, Message, QueueConfig, utc_now
from feedback.submissions import Found
from serve.asking.schemas import ItemId, body, described
from serve.asking.schemas_answers import ReviseIn
from serve.dependencies import Dependencies
from serve.door.auth import require
from serve.errors import InvalidRequest
from serve.routes.answers import ANY, only_one, taken, to_label, version_of
from serve.routes.views import closed_domain, rules, shown_completions

SHOWN = 50
"""Most of the last answers that are listed."""


def make_router(deps: Dependencies) -> APIRouter:
    """Return the routes of labelers' own answers."""
    router = APIRouter(prefix="/v1/labeling/labels", tags=["labeling"])
    labeler = Depends(require(deps.keys, "labeler"))
    ledger, revise_s = deps.ledger, deps.settings.revise_s

    @router.get("")
    def list_own(key: Annotated[ApiKey, labeler]) -> dict[str, Any]:
        """List the caller's last answers, newest first."""
        ids = submissions.recent(ledger, key.owner, SHOWN)
        found = zip(ids, submissions.find_many(ledger, ids), strict=True)
        return {"labels": [summary(id, each, revise_s) for id, each in found if each is not None]}

    @router.get("/{label_id}")
    def show(label_id: ItemId, key: Annotated[ApiKey, labeler]) -> dict[str, Any]:
        """Show one of the caller's own answers as it is now, with what was answered."""
        found = own(ledger, label_id, key)
        view = summary(label_id, found, revise_s)
        if found.stream == keys.LABELS:
            return {**view, **shown_label(ledger, found, label_id, key, revise_s)}
        return {**view, **shown_demonstration(ledger, found, label_id)}

    @router.post("/{label_id}/revise", openapi_extra=described(ReviseIn))
    def revise(
        label_id: ItemId, key: Annotated[ApiKey, labeler], given: Annotated[ReviseIn, Depends(body(ReviseIn))]
    ) -> Response:
        """Take what an earlier answer of the caller should have been, whole; the earlier one is kept beside it."""
        deps.durability.demand()
        only_one(given)
        found = own(ledger, label_id, key)
        if (found.stream == keys.LABELS) == (given.response is not None):
            raise InvalidRequest("a ranking is corrected by a ranking, a response by a response", "ranking")
        if found.stream == keys.LABELS:
            first = latest_label(ledger, found, label_id)
            answer = labels.revise(
                ledger,
                corrected(ledger, given, first, label_id, key),
                comparisons.get(ledger, found.item_id),
                asked(ledger, found),
                guidelines.FLAG_NAMES,
                revise_s=revise_s,
            )
        else:
            last = latest_demonstration(ledger, found, label_id)
            made = msgspec.structs.replace(
                last,
                id=given.submission_id,
                created_at=utc_now(),
                response=given.response or "",
                revision=next_revision(last, given),
                revision_of=label_id,
            )
            answer = demonstrations.revise(ledger, made, revise_s=revise_s)
        return taken(given, answer, "revision", revise_s, until_s=submissions.taken_at(found.entry_id) + revise_s)

    return router


def own(ledger: Ledger, id: str, key: ApiKey) -> Found:
    """Return where one of the caller's own answers is; corrections are found under what they correct.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    found = submissions.find(ledger, id)
    if found is None or found.labeler != key.owner:
        raise NotFound(f"no answer {id!r} of yours; only those of the last month are shown")
    return found


def summary(id: str, found: Found, revise_s: float) -> dict[str, Any]:
    """Return what a list says of an answer."""
    at_s = submissions.taken_at(found.entry_id)
    return {
        "id": id,
        "item_id": found.item_id,
        "kind": "comparison" if found.stream == keys.LABELS else "demonstration",
        "queue": found.queue,
        "submitted_at_s": at_s,
        "revise_until_s": at_s + revise_s,
    }


def latest_label(ledger: Ledger, found: Found, id: str) -> Label:
    """Return the last revision of a label.

    Raises:
        NotFound: it is not there any more.
    """
    mine = [each for each in labels.of(ledger, found.item_id) if submissions.root(each) == id]
    if not mine:
        raise NotFound(f"no answer {id!r}")
    return mine[0]


def latest_demonstration(ledger: Ledger, found: Found, id: str) -> Demonstration:
    """Return the last revision of a demonstration.

    Raises:
        NotFound: it is not there any more; its customer was erased.
    """
    entries = submissions.of_item(ledger, keys.DEMONSTRATIONS, found.item_id, Demonstration)
    mine = [each for _, each in submissions.latest(entries) if submissions.root(each) == id]
    if not mine:
        raise NotFound(f"no answer {id!r}")
    return mine[0]


def asked(ledger: Ledger, found: Found) -> QueueConfig:
    """Return the rules of the queue in which an item was asked; lenient ones if it is not there any more."""
    try:
        return queues.get(ledger, found.queue)
    except NotFound:
        return ANY


def corrected(ledger: Ledger, given: ReviseIn, last: Label, id: str, key: ApiKey) -> Label:
    """Return the label that a correction amounts to: what was measured when it was first given stays."""
    comparison = comparisons.get(ledger, last.comparison_id)
    made = to_label(given, comparison, key, None, version_of(ledger, given))
    return msgspec.structs.replace(
        made,
        labeler_group=last.labeler_group,
        active_s=min(given.active_s, last.total_s),
        total_s=last.total_s,
        read_s=[min(each, last.total_s) for each in given.read_s],
        picked=last.picked,
        revision=next_revision(last, given),
        revision_of=id,
    )


def next_revision(last: Label | Demonstration, given: ReviseIn) -> int:
    """Return the number of a correction; the present one's if this is that very submission again."""
    return last.revision if last.id == given.submission_id else last.revision + 1


def shown_label(ledger: Ledger, found: Found, id: str, key: ApiKey, revise_s: float) -> dict[str, Any]:
    """Return a label with its item, for its own labeler; and what others said, if the queue shows that.

    Others are shown once the label cannot be corrected any more, or who has seen them would not be blind to them.
    """
    label, config = latest_label(ledger, found, id), asked(ledger, found)
    comparison = comparisons.get(ledger, found.item_id)
    view: dict[str, Any] = {
        "revision": label.revision,
        "messages": conversation(comparison.messages),
        "language": comparison.language,
        "closed_domain": closed_domain(comparison),
        "completions": shown_completions(comparison, key.owner),
        "rules": rules(config),
        "answer": said(label),
    }
    if config.show_answers and time.time() > submissions.taken_at(found.entry_id) + revise_s:
        others = [each for each in labels.of(ledger, found.item_id) if each.labeler != key.owner]
        view["others"] = [said(each) for each in others]
    return view


def shown_demonstration(ledger: Ledger, found: Found, id: str) -> dict[str, Any]:
    """Return a demonstration with what it answers, for its own labeler."""
    last = latest_demonstration(ledger, found, id)
    return {
        "revision": last.revision,
        "messages": conversation(last.messages),
        "completions": [],
        "answer": {"response": last.response, "based_on": last.based_on},
    }


def said(label: Label) -> dict[str, Any]:
    """Return what a label says; who said it and how is not in it."""
    wanted = ("outcome", "ranking", "quality", "flags", "spans", "note")
    return {name: msgspec.to_builtins(getattr(label, name)) for name in wanted}


def conversation(messages: list[Message]) -> list[dict[str, Any]]:
    """Return messages as plain values."""
    return cast(list[dict[str, Any]], msgspec.to_builtins(messages))
