"""The answers that a caller got: found by id also before the ledger has them, and only by whom they belong to.

An id that never was, one of somebody else and one that was not logged look the same from outside.
"""

import hashlib
import time

from feedback import interactions
from feedback.errors import NotFound
from feedback.ids import made_at_s
from feedback.records import ApiKey, Interaction
from serve.dependencies import Dependencies
from serve.errors import InvalidRequest


def own(deps: Dependencies, id: str, key: ApiKey) -> Interaction:
    """Return an answer that the key's owner got (blocking).

    Raises:
        InvalidRequest: (410) the id says that it is older than anything is kept.
        NotFound: there is no such answer, or it is somebody else's, or it was not logged.
    """
    made_s = made_at_s(id)
    if made_s is not None and time.time() - made_s > deps.settings.interaction_days * 86_400:
        raise InvalidRequest(f"answer {id!r} is older than answers are kept", "interaction_id", "expired", 410)
    found = answered(deps, id)
    if found is None or found.customer != key.owner:
        raise NotFound(f"no interaction {id!r} of yours; send the `id` of an answer you got")
    return found


def answered(deps: Dependencies, id: str) -> Interaction | None:
    """Return an interaction, also while it is still on its way into the ledger."""
    pending = deps.recorder.pending(id)
    if pending is not None:
        return pending
    try:
        return interactions.get(deps.ledger, id)
    except NotFound:
        # relayed between the two looks
        return deps.recorder.pending(id)


def own_id(prefix: str, owner: str, shown_id: str) -> str:
    """Return the id under which something of a customer is stored, so that no customer can take another's id."""
    return f"{prefix}_" + hashlib.sha256(f"{owner}\n{shown_id}".encode()).hexdigest()[:32]
