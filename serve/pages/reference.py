"""``/docs``: the OpenAPI document as a page for people, rendered here, without a script.

Knows the document's shape; what is in it is `serve.openapi`'s business.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from fastapi import APIRouter
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from serve.pages.router import HEADERS, HERE, PAGES

Schema = dict[str, Any]
ORDER = (
    "completions",
    "models",
    "account",
    "feedback",
    "battles",
    "shares",
    "sessions",
    "keys",
    "labeling",
    "operations",
)
"""Tags that people look for first; others follow."""


class Field(NamedTuple):
    """One field of a body, or one parameter."""

    name: str
    kind: str
    required: bool
    about: str


class Operation(NamedTuple):
    """One thing that can be asked for."""

    id: str
    method: str
    path: str
    about: str
    roles: list[str]
    parameters: list[Field]
    fields: list[Field]
    answers: list[tuple[str, str]]


def make_router(document: Callable[[], Schema]) -> APIRouter:
    """Return the page of the API that ``document`` describes."""
    router = APIRouter(include_in_schema=False)
    templates = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    templates.filters["prose"] = prose

    @cache
    def html() -> str:
        found = document()
        sections = {tag: list(operations(found, tag)) for tag in tags(found)}
        about = [" ".join(part.split()) for part in found["info"]["description"].split("\n\n")]
        return templates.get_template("docs/docs.html").render(
            page="docs", pages=PAGES, titles={**PAGES, "docs": "API"}, about=about, sections=sections
        )

    @router.get("/docs")
    def docs() -> HTMLResponse:
        return HTMLResponse(html(), headers=HEADERS)

    return router


def tags(document: Schema) -> list[str]:
    """Return the document's tags in the order of the page."""
    found = {operation["tags"][0] for methods in document["paths"].values() for operation in methods.values()}
    return sorted(found, key=lambda tag: (ORDER.index(tag) if tag in ORDER else len(ORDER), tag))


def operations(document: Schema, tag: str) -> Iterator[Operation]:
    """Yield what a section of the page shows."""
    for path, methods in sorted(document["paths"].items()):
        for method, operation in methods.items():
            if operation["tags"][0] != tag:
                continue
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            yield Operation(
                id=re.sub(r"[^a-z0-9]+", "-", f"{method}{path}".lower()).strip("-"),
                method=method.upper(),
                path=path,
                about=operation.get("description") or operation["summary"],
                roles=operation.get("x-roles", []),
                parameters=[
                    Field(each["name"], kind(each["schema"]), each.get("required", False), each.get("description", ""))
                    for each in operation.get("parameters", [])
                ],
                fields=list(fields(body)),
                answers=[(status, meaning(document, each)) for status, each in operation["responses"].items()],
            )


def meaning(document: Schema, answer: Schema) -> str:
    """Return what an answer means, also of one that is described elsewhere in the document."""
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return str(answer["description"])


def fields(schema: Schema) -> Iterator[Field]:
    """Yield the fields of an object's schema, the required ones first."""
    required = schema.get("required", [])
    for name, field in sorted(schema.get("properties", {}).items(), key=lambda item: item[0] not in required):
        about = [each.get("description", "") for each in (field, *field.get("anyOf", []))]
        yield Field(name, kind(field), name in required, next(filter(None, about), ""))


def kind(schema: Schema) -> str:
    """Return a schema in a few words: ``integer 1 to 9``, ``text of 1 to 64 characters``."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind(each) for each in schema["anyOf"] if each != {"type": "null"}))
    if "enum" in schema or "const" in schema:
        return " | ".join(str(each).lower() for each in schema.get("enum", [schema.get("const")]))
    name = schema.get("type", "anything")
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    if low is not None and "maximum" in schema:
        return f"{name} {'above ' if 'exclusiveMinimum' in schema else ''}{low:g} to {schema['maximum']:g}"
    if name == "string":
        return (
            f"text of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
            if "maxLength" in schema
            else "text"
        )
    if name == "array":
        most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
        return f"list of {kind(schema.get('items', {}))}{most}"
    return f"{name} above {low:g}" if low is not None and "exclusiveMinimum" in schema else str(name)


def prose(text: str) -> list[tuple[bool, str]]:
    """Return a text in pieces, each with whether it stood between backticks."""
    return [(index % 2 == 1, piece) for index, piece in enumerate(text.split("`")) if piece]
