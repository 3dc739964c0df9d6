"""``/v1/erasures``: a customer takes back everything it sent; an operator does so for any customer.

The request is a tombstone and a receipt; the workers do the rest, and the receipt says how far they are.
"""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends

from feedback import erasure
from feedback.errors import Forbidden, NotFound
from feedback.records import ApiKey, Erasure
from serve.asking.schemas import ErasureIn, ItemId, body, described
from serve.dependencies import Dependencies
from serve.door.auth import require


def make_router(deps: Dependencies) -> APIRouter:
    """Return the routes of erasures."""
    router = APIRouter(prefix="/v1/erasures", tags=["privacy"])
    caller = Depends(require(deps.keys, "client", "operator"))

    @router.post("", status_code=202, openapi_extra=described(ErasureIn, required=False))
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

    @router.get("/{id}")
    def receipt(id: ItemId, key: Annotated[ApiKey, caller]) -> dict[str, Any]:
        """Return a receipt: what was removed so far, and whether it is done."""
        found = erasure.get(deps.ledger, id)
        if key.role != "operator" and found.customer != key.owner:
            raise NotFound(f"no erasure {id!r}")
        return shown(found)

    return router


def shown(receipt: Erasure) -> dict[str, Any]:
    """Return a receipt as plain values."""
    found: dict[str, Any] = msgspec.to_builtins(receipt)
    return found
