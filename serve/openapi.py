"""The whole API as an OpenAPI document that says what the routes do: bodies, headers, who may call, every refusal.

Derived from the routes themselves; the completion routes, which are pure ASGI, are added from
`serve.openapi_completions`.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from serve import openapi_completions
from serve.door import sessions
from serve.routes import completions
from serve.settings import ServeSettings

Schema = dict[str, Any]
VERSION = "1"
ABOUT = """
Whetstone serves policies that people's feedback makes better, behind an API that OpenAI's clients speak.

Send an API key as `Authorization: Bearer ws-...`, or sign in with `POST /v1/sessions` and use its cookie; then requests
that change something carry the header `X-CSRF-Token`. Bodies are strict JSON: a name given twice, NaN, bytes that are
not UTF-8, a byte order mark or a nesting deeper than 32 are refused. Every refusal has OpenAI's error object, every
answer an `X-Request-Id`.
"""
REFUSALS = {
    "400": "The request is malformed, or a field is unknown, missing or out of bounds; `param` names it.",
    "401": "No key or session, or one that is unknown, revoked, expired or not yet valid.",
    "403": "The key's role may not do this, or a session's request lacks its CSRF token.",
    "404": "Nothing of yours has this name.",
    "405": "No such method here.",
    "408": "The request did not arrive in time.",
    "409": "Not possible in the present state.",
    "410": "It was there; it is over, or older than what is kept.",
    "413": "The body is too large.",
    "414": "Path or query are too long.",
    "415": "The body is not `application/json`, or it is compressed.",
    "429": "You are over a limit of your own, or your address sent too many wrong keys; see `Retry-After`.",
    "431": "The headers are too large or too many.",
    "503": "The service is full, draining, or a part of it does not answer; see `Retry-After`.",
    "504": "The answer was not complete before the deadline.",
}
ALWAYS = ("400", "405", "414", "431", "503")
WITH_KEY = ("401", "403", "429")
WITH_BODY = ("408", "413", "415")
THAT_AGE = ("feedback", "battles", "shares", "queue")
"""Tags of what refers to answers, which are not kept for ever."""
WITH_RETRY = ("429", "503", "504")


def document(app: FastAPI, settings: ServeSettings) -> Schema:
    """Return the OpenAPI document of an application."""
    found = get_openapi(title=app.title, version=VERSION, description=ABOUT.strip(), routes=app.routes)
    roles = dict(callers(app, settings))
    for kind, path in completions.PATHS.items():
        found["paths"][path] = {"post": _completion(kind, settings)}
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            _complete(operation, method.upper(), path, roles[method.upper(), path])
    found["paths"] = _portable(found["paths"])
    components = found.setdefault("components", {})
    components["schemas"] = {"Error": _error()}
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key."},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": sessions.COOKIE,
            "description": "From POST /v1/sessions.",
        },
    }
    components["responses"] = {status: _refusal(status, text) for status, text in REFUSALS.items()}
    components["headers"] = {
        "X-Request-Id": {"schema": {"type": "string"}, "description": "Of this answer; say it when you ask for help."},
        "X-Policy-Version": {"schema": {"type": "string"}, "description": "The exact version that answered."},
        "Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds to wait."},
    }
    return found


def _portable(part: Any) -> Any:
    """Return a part of the document with its patterns in the dialect of JSON Schema, where the end is ``$``."""
    if isinstance(part, dict):
        return {
            name: each.replace(r"\Z", "$") if name == "pattern" and isinstance(each, str) else _portable(each)
            for name, each in part.items()
        }
    return [_portable(each) for each in part] if isinstance(part, list) else part


def callers(app: FastAPI, settings: ServeSettings) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    """Yield ((method, path), roles that are let in) of every documented route; no roles where anybody is."""
    for path in completions.PATHS.values():
        yield ("POST", path), completions.ROLES
    for route in app.routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        roles = tuple(_roles(route.dependant))
        if route.path == "/metrics" and settings.metrics_key_required:
            roles = ("metrics", "operator")
        for method in route.methods:
            yield (method, route.path), roles


def _roles(dependant: Dependant) -> Iterator[str]:
    for inner in dependant.dependencies:
        yield from getattr(inner.call, "roles", ())
        yield from _roles(inner)


def _completion(kind: Any, settings: ServeSettings) -> Schema:
    chat = kind == "chat"
    return {
        "tags": ["completions"],
        "summary": "Answer a chat" if chat else "Complete a text",
        "description": (
            "As OpenAI's route of this name, for every field that is listed; others are refused by name. The answer "
            "comes whole, or with `stream` as events."
        ),
        "operationId": f"complete_{kind}",
        "parameters": openapi_completions.parameters(settings),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": openapi_completions.request(kind, settings)}},
        },
        "responses": {
            "200": {
                "description": "The answer.",
                "headers": {"X-Policy-Version": {"$ref": "#/components/headers/X-Policy-Version"}},
                "content": openapi_completions.answers(kind),
            }
        },
    }


def _complete(operation: Schema, method: str, path: str, roles: tuple[str, ...]) -> None:
    """Add to an operation who may call it and how it refuses."""
    operation["responses"].pop("422", None)  # FastAPI's; ours is 400
    for answer in operation["responses"].values():
        answer.setdefault("headers", {})["X-Request-Id"] = {"$ref": "#/components/headers/X-Request-Id"}
    for status in sorted(refusals(operation, method, path, roles)):
        operation["responses"][status] = {"$ref": f"#/components/responses/{status}"}
    if roles:
        operation["security"] = [{"key": []}, {"session": []}]
        operation["x-roles"] = list(roles)


def refusals(operation: Schema, method: str, path: str, roles: tuple[str, ...]) -> set[str]:
    """Return the statuses other than success that an operation may answer with."""
    completes = path in completions.PATHS.values()
    found = {*ALWAYS, *(WITH_KEY if roles else ())}
    if method not in sessions.SAFE_METHODS:
        found |= {*WITH_BODY, "409"}
    if "{" in path or completes or "requestBody" in operation:
        found.add("404")
    if path == sessions.PATH:
        found |= set(WITH_KEY)
    if operation["tags"][0] in THAT_AGE and method not in sessions.SAFE_METHODS:
        found.add("410")
    return found | {"504"} if completes else found


def _refusal(status: str, text: str) -> Schema:
    headers = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
    if status in WITH_RETRY:
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": text, "headers": headers, "content": content}


def _error() -> Schema:
    word = {"type": ["string", "null"]}
    properties = {"message": {"type": "string"}, "type": {"type": "string"}, "param": word, "code": word}
    inner = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "object", "properties": {"error": inner}, "required": ["error"], "additionalProperties": False}
