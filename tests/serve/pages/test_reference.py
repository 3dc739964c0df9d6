"""The API's page: all that the document has, as inert text, without a script."""

import re
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from serve.pages.reference import fields, kind, make_router, prose, tags

DOCUMENT: dict[str, Any] = {
    "info": {"description": "Some `code` and\nwords.\n\nMore <b>words</b>."},
    "components": {"responses": {"400": {"description": "Not `like` that."}}},
    "paths": {
        "/v1/zoo": {
            "get": {
                "tags": ["zoo"],
                "summary": "See",
                "responses": {"200": {"description": "Fine."}, "400": {"$ref": "#/components/responses/400"}},
            }
        },
        "/v1/models": {
            "post": {
                "tags": ["models"],
                "summary": "Feed",
                "description": "Feed <script>alert(1)</script>.",
                "x-roles": ["client"],
                "parameters": [{"name": "X-Size", "schema": {"enum": ["small", "big"]}, "in": "header"}],
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "properties": {"food": {"type": "string"}, "n": {"type": "integer"}},
                                "required": ["n"],
                            }
                        }
                    }
                },
                "responses": {"201": {"description": "Fed."}},
            }
        },
    },
}


@pytest.fixture
def page() -> Any:
    app = FastAPI(docs_url=None)
    app.include_router(make_router(lambda: DOCUMENT))
    return TestClient(app).get("/docs")


def test_the_page_needs_no_script_and_allows_none(page: Any) -> None:
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"<script|\sstyle=|\son\w+=|https?://", page.text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "&lt;b&gt;words" in page.text


def test_the_page_shows_every_operation_with_fields_roles_and_answers(page: Any) -> None:
    text = re.sub(r"<[^>]+>", "", page.text)
    for expected in ("/v1/zoo", "/v1/models", "X-Size", "small | big", "food", "For keys of role client", "Fed."):
        assert expected in text
    assert "Open to everybody" in text
    assert "Not like that." in text
    assert 'id="post-v1-models"' in page.text


def test_known_sections_come_first_and_required_fields_too() -> None:
    assert tags(DOCUMENT) == ["models", "zoo"]
    body = DOCUMENT["paths"]["/v1/models"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert [(field.name, field.required) for field in fields(body)] == [("n", True), ("food", False)]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "integer 1 to 9"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "number above 0 to 1"),
        ({"type": "number", "exclusiveMinimum": 0}, "number above 0"),
        ({"type": "string", "minLength": 1, "maxLength": 5}, "text of 1 to 5 characters"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text"),
        ({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]}, "text or list of integer"),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 4}, "list of text, at most 4"),
        ({"const": False}, "false"),
        ({}, "anything"),
    ],
)
def test_a_schema_in_words(schema: dict[str, Any], words: str) -> None:
    assert kind(schema) == words


def test_backticks_become_code() -> None:
    assert prose("a `b` c") == [(False, "a "), (True, "b"), (False, " c")]
