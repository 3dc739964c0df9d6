"""What a customer may know and take back: ``/v1/erasures`` and ``/v1/privacy/preview``.

An erasure is a tombstone and a receipt; the workers do the rest, and the receipt says how far they are. A preview
applies the rules of curation to a text and stores nothing.
"""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends

from feedback import erasure, prompts, tallies
from feedback.curation import decide, decided_by_pool, language_of, mask, rules_of, use_case
from feedback.errors import Forbidden, NotFound, RateLimited
from feedback.records import ApiKey, Erasure, Message
from serve.asking.schemas import ErasureIn, ItemId, body, described
from serve.asking.schemas_privacy import PreviewIn
from serve.dependencies import Dependencies
from serve.door.auth import require

PREVIEWS_PER_MINUTE = 30


def make_router(deps: Dependencies) -> APIRouter:
    """Return the routes of erasures and previews."""
    router = APIRouter(tags=["privacy"])
    caller = Depends(require(deps.keys, "client", "operator"))

    @router.post("/v1/erasures", status_code=202, openapi_extra=described(ErasureIn, required=False))
    def ask(
        key: Annotated[ApiKey, caller], given: Annotated[ErasureIn, Depends(body(ErasureIn, optional=True))]
    ) -> dict[str, Any]:
        """Erase what the caller sent until now, or as operator what any customer sent; return the receipt.

        Gone are interactions, ratings, shared chats, prompts, comparisons and demonstrations made of them, and their
        copies in the archive. Snapshots are immutable: the receipt lists them and the policies trained on them. What is
        sent afterwards is kept like anybody's; take away the key's consent or revoke it to end that.
        """
        customer = given.customer or key.owner
        if key.role != "operator" and customer != key.owner:
            raise Forbidden("a client key erases its own customer only")
        return shown(erasure.request(deps.ledger, customer, key.owner))

    @router.get("/v1/erasures/{id}")
    def receipt(id: ItemId, key: Annotated[ApiKey, caller]) -> dict[str, Any]:
        """Return a receipt: what was removed so far, and whether it is done."""
        found = erasure.get(deps.ledger, id)
        if key.role != "operator" and found.customer != key.owner:
            raise NotFound(f"no erasure {id!r}")
        return shown(found)

    @router.post("/v1/privacy/preview", openapi_extra=described(PreviewIn))
    def preview(
        key: Annotated[ApiKey, caller], given: Annotated[PreviewIn, Depends(body(PreviewIn))]
    ) -> dict[str, Any]:
        """Return what a labeler would see of a text, and whether it would be kept; nothing is stored.

        Whether another customer asked the same is not looked up, for the answer would tell of that customer.
        """
        count, left_s = tallies.add(deps.ledger, "preview", key.id, tallies.MINUTE_S)
        if count > PREVIEWS_PER_MINUTE:
            raise RateLimited(f"a key may ask for {PREVIEWS_PER_MINUTE} previews a minute", left_s)
        return previewed(deps, key, given.text)

    return router


def previewed(deps: Dependencies, key: ApiKey, text: str) -> dict[str, Any]:
    """Return what curation would make of a text that this key asks; masked only if it would be kept."""
    rules = rules_of(deps.settings)
    decision = decide([Message(role="user", content=text)], key.consent, rules)
    if decision.accepted and prompts.kept_of(deps.ledger, key.owner) >= rules.most_per_customer:
        decision = decided_by_pool("customer cap", rules)
    if not decision.accepted:
        return {"kept": False, "reason": decision.reason, "explanation": decision.explanation}
    masked = mask(text)
    tag, why = use_case([Message(role="user", content=masked.text)])
    return {
        "kept": True,
        "reason": "",
        "explanation": decision.explanation,
        "text": masked.text,
        "masked": masked.found,
        "use_case": tag,
        "use_case_why": why,
        "language": language_of(masked.text),
    }


def shown(receipt: Erasure) -> dict[str, Any]:
    """Return a receipt as plain values."""
    found: dict[str, Any] = msgspec.to_builtins(receipt)
    return found
