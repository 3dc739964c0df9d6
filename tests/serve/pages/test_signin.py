"""Signing in and out with a real Chromium: what the browser keeps, and what other tabs notice."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]


def test_a_session_survives_a_reload_and_no_script_can_read_it(site: "Site", watched: "Watched") -> None:
    page = watched.open(site, "/operations", site.key("operator", "olga"))
    assert page.locator("#who").text_content() == "olga"
    assert page.evaluate("document.cookie + JSON.stringify({...sessionStorage, ...localStorage})").count("ws") == 0
    page.reload()
    page.wait_for_selector("#app:not([hidden])")
    page.goto(f"{site.url}/labeling")
    page.wait_for_selector("#sign-in-error:has-text('role labeler')")


def test_sign_out_ends_the_session_in_every_tab(site: "Site", watched: "Watched") -> None:
    page = watched.open(site, "/operations", site.key("operator", "olga"))
    other = page.context.new_page()
    other.goto(f"{site.url}/operations")
    other.wait_for_selector("#app:not([hidden])")
    page.click("#sign-out")
    page.wait_for_selector("#key:focus")
    other.wait_for_selector("#sign-in:not([hidden])")
    assert page.context.cookies() == []
    assert site.ledger.redis.keys("ws:session:*") == []


def test_a_tab_goes_on_after_the_same_person_signed_in_elsewhere(site: "Site", watched: "Watched") -> None:
    secret = site.key("operator", "olga")
    page = watched.open(site, "/operations", secret)
    answer = page.context.request.post(f"{site.url}/v1/sessions", data={"key": secret})
    assert answer.status == 201
    status = page.evaluate(
        "import('/static/shared/api.js').then((api) => api.send('POST', '/v1/operations/rounds', {kind: 'ppo'}))"
        ".then((answer) => answer.status, (error) => error.status)"
    )
    assert status == 200
