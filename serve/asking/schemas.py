"""What the ledger's routes take: strict types, bounds, and one way to read a body.

Unknown fields, wrong types, control characters and oversized bodies are refused by name before a route runs.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from fastapi import Path, Request
from msgspec import UNSET, Meta, UnsetType

from feedback.demonstrations import MAX_CHARS
from feedback.ids import new_id
from serve.asking.jsonbody import parse
from serve.errors import InvalidRequest

MAX_BODY_BYTES = 256 * 1024
NO_CONTROLS = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z"
ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]*\Z"
UUID = r"^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\Z"
FLAG = r"^[a-z][a-z0-9_]*\Z"
POLICY = r"^(live|previous|candidate|policy-[0-9]{4,9})\Z"
QUEUE_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}\Z"
LANGUAGE = r"^[a-z]{2,3}\Z"
IN_WORDS = {
    NO_CONTROLS: "text without control characters",
    ID: "letters, digits and . _ : - only",
    UUID: "a UUID",
    FLAG: "lower-case letters, digits and _ only",
    POLICY: "live, previous, candidate or a version such as policy-0007",
    QUEUE_NAME: "at most 64 lower-case letters, digits and . _ -",
    LANGUAGE: "a language such as en",
}
"""What a person reads instead of a regular expression."""

Id = Annotated[str, Meta(pattern=ID, max_length=100)]
ItemId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", max_length=100)]
PolicyPath = Annotated[str, Path(pattern=r"^(live|previous|candidate|policy-[0-9]{4,9})$")]
SubmissionId = Annotated[str, Meta(pattern=UUID)]
Note = Annotated[str, Meta(pattern=NO_CONTROLS, max_length=4000)]
Text = Annotated[str, Meta(pattern=NO_CONTROLS, max_length=MAX_CHARS)]
Reason = Annotated[str, Meta(pattern=NO_CONTROLS, max_length=500)]
Token = Annotated[int, Meta(ge=1, le=2**53)]
Index = Annotated[int, Meta(ge=0, le=8)]
FlagName = Annotated[str, Meta(pattern=FLAG, max_length=40)]
BattleId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
ShareId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{22}$")]
RatingReason = Literal[
    "correct", "helpful", "well written", "wrong", "not what was asked", "made up", "too long", "harmful"
]
PolicyName = Annotated[str, Meta(pattern=POLICY)]
B = TypeVar("B", bound="Body")


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all request bodies."""


class FeedbackIn(Body, frozen=True, kw_only=True):
    """What a customer says of one answer, or of two to the same prompt."""

    id: Id | None = None
    """Made by the client, so that a retry is recognised."""
    interaction_id: Id | UnsetType = UNSET
    """The `id` of the answer."""
    rating: Literal[-1, 0, 1] | UnsetType = UNSET
    """Good 1, bad -1; 0 takes an earlier rating back."""
    reasons: Annotated[list[RatingReason], Meta(max_length=8)] = []
    comment: Note = ""
    edit: Text = ""
    """What the answer should have said."""
    better: Id | UnsetType = UNSET
    """The `id` of the better one of two answers; with `worse`, and without all of the above but `id`."""
    worse: Id | UnsetType = UNSET
    verdict: Literal["tie", "both_bad"] | UnsetType = UNSET
    """Given when neither of the two is better."""


class BattleIn(Body, frozen=True, kw_only=True):
    """Nothing: the server chooses both sides."""


class VoteIn(Body, frozen=True, kw_only=True):
    """Which side of a battle answered better."""

    id: Id = msgspec.field(default_factory=lambda: new_id("vot"))
    """Made by the client, so that a retry is recognised."""
    verdict: Literal["a", "b", "tie", "both_bad"]
    a: Id
    """The `id` of side a's answer."""
    b: Id


class ShareIn(Body, frozen=True, kw_only=True):
    """Which conversation to show to others, named by its last answer."""

    interaction_id: Id
    days: Annotated[int, Meta(ge=1, le=365)] = 7


class QueueIn(Body, frozen=True, kw_only=True):
    """Which answer's prompt labelers are to rank next."""

    interaction_id: Id
    k: Annotated[int, Meta(ge=2, le=9)] = 4


class PromoteIn(Body, frozen=True, kw_only=True):
    """Which policy is to become live, and whether the gate's word counts."""

    version: PolicyName
    reason: Reason = ""
    override: bool = False


class RollbackIn(Body, frozen=True, kw_only=True):
    """Why the previous policy is to answer again."""

    reason: Reason = ""


class CanaryIn(Body, frozen=True, kw_only=True):
    """Which policy is to answer what share of the callers of ``live``."""

    version: PolicyName
    share: Annotated[int, Meta(ge=0, le=100)]
    """Whole percent; 0 loads the policy and routes nobody to it."""
    reason: Reason = ""


class CanaryEndIn(Body, frozen=True, kw_only=True):
    """Why the canary ends."""

    reason: Reason = ""


class ErasureIn(Body, frozen=True, kw_only=True):
    """Whose words are erased; the caller's own unless an operator names another customer."""

    customer: Annotated[str, Meta(pattern=NO_CONTROLS, max_length=200)] = ""


class RoundIn(Body, frozen=True, kw_only=True):
    """What kind of training round is wanted."""

    kind: Literal["sft", "ppo"]


def decode(raw: bytes, kind: type[B]) -> B:
    """Return the body that ``raw`` holds.

    Raises:
        InvalidRequest: it is no JSON object, or a field is unknown, missing, of the wrong type or out of bounds.
    """
    try:
        return msgspec.convert(parse(raw), kind)
    except msgspec.ValidationError as error:
        raise in_words(str(error)) from error


def in_words(message: str) -> InvalidRequest:
    """Return msgspec's complaint as one that names the field first and spells no regular expression."""
    what, _, path = message.partition(" - at `$")
    param = path.strip("`").lstrip(".")
    unknown = re.search(r"(?:unknown|required) field `(.*)`", what)
    if unknown is not None:
        param = ".".join(filter(None, [param, unknown[1][:100]]))
    for pattern, words in IN_WORDS.items():
        what = what.replace(f"Expected `str` matching regex {pattern!r}", f"expected {words}")
    return InvalidRequest(f"{param}: {what}" if param else what, param=param or None)


def body(kind: type[B], *, optional: bool = False) -> Callable[[Request], Awaitable[B]]:
    """Return a FastAPI dependency that reads, bounds and decodes the request's body.

    Args:
        kind: what the body must be.
        optional: take an empty body for ``{}``.
    """

    async def read(request: Request) -> B:
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MAX_BODY_BYTES:
                raise InvalidRequest(f"the body is larger than {MAX_BODY_BYTES} bytes", None, "body_too_large", 413)
        if optional and not raw:
            return decode(b"{}", kind)
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if raw and media != "application/json":
            raise InvalidRequest("send the body as `Content-Type: application/json`", None, "unsupported_media", 415)
        return decode(bytes(raw), kind)

    return read


def described(kind: type[Body], *, required: bool = True) -> dict[str, Any]:
    """Return the OpenAPI fragment for a route whose body is ``kind``."""
    (schema,), components = msgspec.json.schema_components([kind], ref_template="{name}")

    def inline(part: Any) -> Any:
        if isinstance(part, dict):
            known = components.get(part.get("$ref", ""))
            return {name: inline(each) for name, each in part.items()} if known is None else inline(known)
        return [inline(each) for each in part] if isinstance(part, list) else part

    return {"requestBody": {"required": required, "content": {"application/json": {"schema": inline(schema)}}}}
