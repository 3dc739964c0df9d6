"""Drafts: what a labeler has written on an item and not submitted yet, so that it outlives a reload and a lost lease.

Knows the text and for how long it is kept; nothing of what is in it. A draft holds no words of customers but what its
labeler quoted, and goes with the item when that is erased.
"""

from typing import cast

from feedback import keys
from feedback.client import Ledger
from feedback.errors import InvalidRecord

MOST_BYTES = 64 * 1024
KEPT_S = 7 * 24 * 3600


def put(ledger: Ledger, labeler: str, item_id: str, draft: str) -> None:
    """Keep a draft (JSON) for `KEPT_S`, in place of the one before.

    Raises:
        InvalidRecord: it is larger than `MOST_BYTES`.
    """
    if (size := len(draft.encode())) > MOST_BYTES:
        raise InvalidRecord(f"a draft of {size} bytes is too large, at most {MOST_BYTES} are kept")
    with ledger.reach() as client, client.pipeline(transaction=True) as move:
        move.set(keys.draft(labeler, item_id), draft, ex=KEPT_S)
        move.sadd(keys.drafts(item_id), labeler)
        move.expire(keys.drafts(item_id), KEPT_S)
        move.execute()


def get(ledger: Ledger, labeler: str, item_id: str) -> str | None:
    """Return a labeler's draft of an item (JSON), or None."""
    with ledger.reach() as client:
        return cast(str | None, client.get(keys.draft(labeler, item_id)))


def drop(ledger: Ledger, labeler: str, item_id: str) -> None:
    """Forget a labeler's draft of an item."""
    with ledger.reach() as client, client.pipeline(transaction=True) as move:
        move.delete(keys.draft(labeler, item_id))
        move.srem(keys.drafts(item_id), labeler)
        move.execute()
