"""The privacy page in a real browser: what labelers would see, for who is signed in, and as inert text."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.browser, pytest.mark.redis]


def test_a_customer_checks_what_labelers_would_see(site: "Site", watched: "Watched") -> None:
    page = watched.open(site, "/playground", site.key("client", "ada"))
    page.goto(site.url + "/privacy")
    page.get_by_label("Text", exact=True).fill("Write to ada@lovelace.org <b onclick=alert(1)>now</b>.")
    page.get_by_role("button", name="Check").click()
    result = page.get_by_label("What labelers would see")
    result.get_by_text("Labelers may see this:").wait_for()
    assert page.locator("#preview-seen").text_content() == "Write to <EMAIL_1> <b onclick=alert(1)>now</b>."
    assert page.locator("#preview-seen b").count() == 0
    assert "Masked: 1 e-mail address." in (page.locator("#preview-found").text_content() or "")
    page.get_by_label("Text", exact=True).fill("?")
    page.get_by_role("button", name="Check").click()
    result.get_by_text("No labeler would see this.").wait_for()
    assert page.locator("#preview-seen").is_hidden()
    assert "at least 3" in (page.locator("#preview-why").text_content() or "")


def test_a_stranger_is_told_to_sign_in(site: "Site", watched: "Watched") -> None:
    page = watched.page
    page.goto(site.url + "/privacy")
    page.get_by_label("Text", exact=True).fill("Write to ada@lovelace.org")
    page.get_by_role("button", name="Check").click()
    page.get_by_text("Sign in on the Playground first").wait_for()
    assert page.locator("#preview-result").is_hidden()
