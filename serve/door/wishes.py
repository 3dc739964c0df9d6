"""What a caller asks for in headers: consent, deadline, priority, conversation.

Pure functions of headers; each has bounds, and none can widen what the key allows.
"""

import math
from dataclasses import dataclass

from starlette.datastructures import Headers

from serve.errors import InvalidRequest

MAX_CONVERSATION_CHARS = 128


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """The headers of one request, checked.

    Attributes:
        consent: False if this request must not be recorded, whatever the key allows.
        deadline_s: seconds from the request's arrival to its last byte.
        background: give way to everybody else.
        conversation: what this request belongs to; empty if not said.
    """

    consent: bool
    deadline_s: float
    background: bool
    conversation: str


def read(headers: Headers, deadline_s: float, max_deadline_s: float) -> Wishes:
    """Return what the headers ask for.

    Args:
        headers: of the request.
        deadline_s: deadline of a request that names none.
        max_deadline_s: longest deadline; a longer one is cut.

    Raises:
        InvalidRequest: a header's value is none of those allowed; names the header.
    """
    said = headers.get("x-deadline-s")
    return Wishes(
        consent=_one_of(headers, "X-Whetstone-Consent", ("yes", "no")) == "yes",
        deadline_s=min(max_deadline_s, deadline_s if said is None else _deadline(said)),
        background=_one_of(headers, "X-Priority", ("normal", "background")) == "background",
        conversation=_conversation(headers),
    )


def _one_of(headers: Headers, name: str, allowed: tuple[str, str]) -> str:
    """Return a header's value; the first of those allowed if it is missing."""
    value = headers.get(name, allowed[0]).strip().lower()
    if value not in allowed:
        raise _wrong(name, f"must be {' or '.join(allowed)}")
    return value


def _deadline(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise _wrong("X-Deadline-S", "must be a number of seconds above 0")
    return value


def _conversation(headers: Headers) -> str:
    value = headers.get("x-conversation-id", "")
    if len(value) > MAX_CONVERSATION_CHARS or not value.isprintable():
        raise _wrong("X-Conversation-Id", f"must be at most {MAX_CONVERSATION_CHARS} printable characters")
    return value


def _wrong(name: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{name} {what}", param=name, code="invalid_value")
