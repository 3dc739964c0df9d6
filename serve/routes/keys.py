"""API keys over HTTP: operators make, change and revoke all of them, everybody else sees and revokes their own.

A secret is in one answer, once. Every change is in the audit under its maker's name.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Response
from msgspec import Meta

from feedback import access, promotion
from feedback.errors import ConfigError, NotFound
from feedback.records import ApiKey, Role, utc_now
from serve.asking.schemas import Body, Id, ItemId, body, described
from serve.dependencies import Dependencies
from serve.door.auth import require
from serve.errors import InvalidRequest

ONE_LINE = r"^[^\x00-\x1f\x7f\u2028\u2029]*\Z"
Owner = Annotated[str, Meta(min_length=1, max_length=100, pattern=ONE_LINE)]
Moment = Annotated[datetime, Meta(tz=True)]
PerMinute = Annotated[int, Meta(ge=0, le=10**6)]
PerDay = Annotated[int, Meta(ge=0, le=10**12)]
Skills = Annotated[list[Id], Meta(max_length=20)]


class KeyIn(Body, frozen=True, kw_only=True):
    """A key to be made."""

    role: Role
    owner: Owner
    group: Literal["", "training", "held-out"] = ""
    """Of a labeler."""
    skills: Skills = []
    """Of a labeler: queues may need some, such as `lang:de`."""
    consent: bool = True
    not_before: Moment | None = None
    expires_at: Moment | None = None
    requests_per_minute: PerMinute = 0
    """0 for the server's default."""
    tokens_per_day: PerDay = 0
    """0 for the server's default."""


class KeyChange(Body, frozen=True, kw_only=True):
    """What is to change about a key; what is not given stays."""

    consent: bool | None = None
    skills: Skills | None = None
    requests_per_minute: PerMinute | None = None
    tokens_per_day: PerDay | None = None


def make_router(deps: Dependencies) -> APIRouter:
    """Return the routes of keys."""
    router = APIRouter(tags=["keys"])
    _add_own(router, deps)
    _add_all(router, deps)
    return router


def _add_own(router: APIRouter, deps: Dependencies) -> None:
    anybody = Depends(require(deps.keys, "client", "labeler", "operator"))

    @router.get("/v1/keys")
    def list_own(key: Annotated[ApiKey, anybody]) -> list[dict[str, Any]]:
        """List the keys of the caller's owner and role."""
        return shown_all(deps, [each for each in access.list_keys(deps.ledger) if mine(each, key)])

    @router.post("/v1/keys/{key_id}/revoke")
    def revoke_own(key_id: ItemId, key: Annotated[ApiKey, anybody]) -> dict[str, Any]:
        """Revoke a key of the caller's owner and role; others' keys do not exist here."""
        if not any(each.id == key_id and mine(each, key) for each in access.list_keys(deps.ledger)):
            raise NotFound(f"no API key of yours has the id {key_id!r}")
        return _revoke(deps, key_id, key)


def _add_all(router: APIRouter, deps: Dependencies) -> None:
    operator = Depends(require(deps.keys, "operator"))

    @router.get("/v1/operations/keys", dependencies=[operator])
    def list_all() -> list[dict[str, Any]]:
        """List all keys, oldest first; the secrets are stored nowhere."""
        return shown_all(deps, access.list_keys(deps.ledger))

    @router.post("/v1/operations/keys", status_code=201, openapi_extra=described(KeyIn))
    def create(
        response: Response, by: Annotated[ApiKey, operator], given: Annotated[KeyIn, Depends(body(KeyIn))]
    ) -> dict[str, Any]:
        """Make a key and return it with its secret, `key`, which cannot be shown again."""
        if given.group and given.role != "labeler":
            raise InvalidRequest("group: only labelers have one", "group")
        if given.skills and given.role != "labeler":
            raise InvalidRequest("skills: only labelers have some", "skills")
        try:
            secret, key = access.create(deps.ledger, **msgspec.structs.asdict(given))
        except ConfigError as error:
            raise InvalidRequest(str(error)) from error
        promotion.note(deps.ledger, by.owner, "make key", key.id, f"{key.role} {key.owner}")
        response.headers["Cache-Control"] = "no-store"
        return {"key": secret, **shown(key, None)}

    @router.patch("/v1/operations/keys/{key_id}", openapi_extra=described(KeyChange))
    def change(
        key_id: ItemId, by: Annotated[ApiKey, operator], given: Annotated[KeyChange, Depends(body(KeyChange))]
    ) -> dict[str, Any]:
        """Change a key's consent, skills or quotas; all replicas follow within seconds."""
        changes = {name: value for name, value in msgspec.structs.asdict(given).items() if value is not None}
        if not changes:
            raise InvalidRequest("give at least one of consent, skills, requests_per_minute and tokens_per_day")
        key = access.adjust(deps.ledger, key_id, **changes)
        said = ", ".join(f"{name}={value}" for name, value in changes.items())
        promotion.note(deps.ledger, by.owner, "change key", key.id, said)
        return shown(key, access.last_used(deps.ledger).get(key.id))

    @router.post("/v1/operations/keys/{key_id}/revoke")
    def revoke(key_id: ItemId, by: Annotated[ApiKey, operator]) -> dict[str, Any]:
        """Revoke a key; all replicas stop taking it within seconds. The last usable operator key stays."""
        return _revoke(deps, key_id, by)


def _revoke(deps: Dependencies, key_id: str, by: ApiKey) -> dict[str, Any]:
    key = access.revoke(deps.ledger, key_id)
    promotion.note(deps.ledger, by.owner, "revoke key", key.id)
    return shown(key, access.last_used(deps.ledger).get(key.id))


def mine(key: ApiKey, caller: ApiKey) -> bool:
    """Tell whether a key is the caller's own business; a customer and an operator of one name are two people."""
    return (key.owner, key.role) == (caller.owner, caller.role)


def shown_all(deps: Dependencies, found: list[ApiKey]) -> list[dict[str, Any]]:
    """Return keys as people see them."""
    used = access.last_used(deps.ledger)
    return [shown(key, used.get(key.id)) for key in found]


def shown(key: ApiKey, used_s: int | None) -> dict[str, Any]:
    """Return a key without the hash of its secret, with its state and the last time it was known to be used."""
    fields: dict[str, Any] = msgspec.to_builtins(key)
    fields.pop("secret_sha256")
    used_at = None if used_s is None else datetime.fromtimestamp(used_s, UTC)
    return {**fields, "state": access.state(key, utc_now()), "last_used_at": msgspec.to_builtins(used_at)}
