"""What a page is served with."""

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from serve import errors
from serve.pages.router import HERE, PAGES, PLAIN, make_router, static_files


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    errors.install(app)
    app.include_router(make_router(interaction_days=45, max_tokens=33))
    return TestClient(app)


def test_root_leads_to_the_playground(client: TestClient) -> None:
    answer = client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/playground")


@pytest.mark.parametrize("name", [*PAGES, *PLAIN])
def test_page_carries_a_policy_that_allows_no_inline_code_and_nothing_from_elsewhere(
    client: TestClient, name: str
) -> None:
    answer = client.get(f"/{name}")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|https?://", answer.text.replace("<!doctype", ""))


def test_every_file_that_a_page_or_module_names_is_served_with_its_type(client: TestClient) -> None:
    named = set()
    for path in HERE.glob("*/*"):
        named |= set(re.findall(r"/static/[a-z]+/[a-z]+\.(?:js|css|svg)", path.read_text()))
    for page in (*PAGES, *PLAIN):
        named |= set(re.findall(r"/static/[\w/.]+", client.get(f"/{page}").text))
    assert len(named) >= 10
    for path in named:
        answer = client.get(path)
        assert answer.status_code == 200, path
        kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}[path.rpartition(".")[2]]
        assert answer.headers["content-type"].startswith(kind)
        assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        *("shared/base.html", "shared/nothing.js", "router.py", "../router.py", "shared/../router.py"),
        *("shared/..%2f..%2frouter.py", "shared/%2e%2e/router.py", "pages/router.py", "shared/base.css%00.js"),
    ],
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404


def test_no_script_makes_html_from_strings() -> None:
    for name, path in static_files().items():
        if path.suffix == ".js":
            text = path.read_text()
            for forbidden in (
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
            ):
                assert forbidden not in text, name


def test_page_on_what_is_stored_says_how_long_it_is_kept_here(client: TestClient) -> None:
    assert "45 days in the log" in client.get("/privacy").text


def test_playground_offers_no_longer_answers_than_this_server_gives(client: TestClient) -> None:
    assert 'data-max-tokens="33"' in client.get("/playground").text
