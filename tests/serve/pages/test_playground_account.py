"""History, sharing, code, account and privacy in a real Chromium."""

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from feedback import access
from tests.serve.pages.upstream import Upstream, say, start

if TYPE_CHECKING:
    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]


def test_history_is_searched_renamed_exported_and_deleted_with_undo(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Yes.")
    page = start(site, watched)
    say(page, "About pears")
    page.click("#new")
    say(page, "About stones")
    titles = page.locator("#chats .title")
    assert titles.all_inner_texts() == ["About stones", "About pears"]
    page.fill("#search", "PEARS")
    page.wait_for_function("() => document.querySelectorAll('#chats li').length === 1")
    page.hover("#chats li")
    page.click("#chats [title=Rename]")
    page.keyboard.type("Fruit")
    page.keyboard.press("Enter")
    page.fill("#search", "fruit")
    page.wait_for_selector("#chats .title:has-text('Fruit')")
    page.hover("#chats li")
    with page.expect_download() as download:
        page.click("#chats [title=Export]")
    kept = json.loads(download.value.path().read_text())
    assert (kept["title"], len(kept["tree"]["nodes"])) == ("Fruit", 2)
    page.click("#chats .open")
    page.wait_for_selector(".turn.user .text:has-text('About pears')")
    page.hover("#chats li")
    page.click("#chats [title=Delete]")
    page.wait_for_selector("#no-chats:not([hidden])")
    page.click(".toast button:has-text('Undo')")
    page.wait_for_selector(".turn.user .text:has-text('About pears')")


def test_history_survives_a_reload_and_belongs_to_one_owner(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Yes.")
    page = start(site, watched)
    say(page, "About pears")
    page.reload()
    page.wait_for_selector("#chats .title:has-text('About pears')")
    page.click("#sign-out")
    page.wait_for_selector("#key:focus")
    page.keyboard.type(site.key("client", "bob"))
    page.keyboard.press("Enter")
    page.wait_for_selector("#prompt:focus")
    assert page.locator("#chats li").count() == 0


def test_share_is_read_without_a_key_and_taken_back(site: "Site", watched: "Watched") -> None:
    Upstream(site, "**Yes**, <b>really</b>.")
    page = start(site, watched)
    say(page, "Really?")
    page.click(".menu summary")
    page.click(".turn .share")
    page.click("#share-form .primary")
    page.wait_for_selector("#share-made:not([hidden])")
    link = page.input_value("#share-link")
    page.click("#share-close")
    context = page.context.browser.new_context()  # type: ignore[union-attr]
    reader = context.new_page()
    reader.goto(link)
    reader.wait_for_selector(".turn.assistant")
    assert reader.locator(".turn .text").all_inner_texts() == ["Really?", "Yes, <b>really</b>."]
    assert reader.locator(".turn .text b").count() == 0
    page.click("#account")
    page.click("#account-shares button:has-text('Take back')")
    page.wait_for_selector("#account-shares:has-text('Nothing is shared')")
    reader.reload()
    reader.wait_for_selector("#about:has-text('taken back')")
    context.close()


def test_what_is_not_logged_cannot_be_shared_or_rated(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Yes.")
    page = start(site, watched)
    page.click(".consent .switch")
    say(page, "Really?")
    page.click(".menu summary")
    assert page.locator(".copy-id").is_visible()
    assert not page.locator(".turn .share").is_visible()
    assert not page.locator(".turn .up").is_visible()


def test_code_is_the_very_request(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "Yes.")
    page = start(site, watched)
    page.click(".consent .switch")
    prompt = 'It\'s "quoted" $HOME `x` \\ and\nlines ü'
    say(page, prompt)
    page.click("#view-code")
    words = shlex.split(page.locator("#code-text").inner_text())
    assert json.loads(words[words.index("-d") + 1]) == upstream.asked[0]
    assert "X-Whetstone-Consent: no" in words
    assert f"{site.url}/v1/chat/completions" in words
    page.click("[role=tab]:has-text('Python')")
    python = page.locator("#code-text").inner_text()
    asked: dict[str, Any] = {}
    client = "class OpenAI:\n    def __init__(self, **_): self.chat = self.completions = self\n"
    client += "    def create(self, **given): asked.update(given); return []\n"
    code = python.replace("from openai import OpenAI", client).replace('os.environ["API_KEY"]', '""')
    exec(compile(code, "example", "exec"), {"asked": asked})
    assert asked.pop("extra_headers") == {"X-Whetstone-Consent": "no"}
    assert asked == upstream.asked[0]
    page.click("[role=tab]:has-text('TypeScript')")
    assert 'import OpenAI from "openai"' in page.locator("#code-text").inner_text()
    assert "ws-" not in page.locator("#code-text").inner_text()


def test_account_shows_limits_and_revokes_another_key(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Yes.")
    site.key("client", "acme")
    page = start(site, watched)
    page.click("#account")
    page.wait_for_selector("#account-keys li:has-text('in use here')")
    page.click("#account-keys button:has-text('Revoke')")
    page.wait_for_selector("#account-keys li:has-text('revoked')")
    revoked = [key for key in access.list_keys(site.ledger) if key.revoked_at is not None]
    assert len(revoked) == 1
    assert page.locator("#account-limits dt").all_inner_texts() == ["Requests a minute", "Tokens a day"]
    page.click("#account-dialog [aria-label=Close]")
    say(page, "Still here?")


def test_limits_are_shown_before_they_bite(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Yes.")
    left = {"requests_per_minute": 60, "requests_left": 5, "tokens_per_day": 100_000, "tokens_left_today": 42_000}

    async def me(request: Request) -> Response:
        return JSONResponse({"owner": "acme", "role": "client", "key_id": "k", "consent": True, "limits": left})

    site.app.router.routes.insert(0, Route("/v1/me", me))
    page = start(site, watched)
    page.wait_for_selector("#limits:has-text('5 requests this minute · 42 k tokens today left')")
    assert "error" in str(page.get_attribute("#limits", "class"))


def test_delete_my_data_asks_twice_and_follows_the_receipt(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Yes.")
    states = ["running", "running", "done"]
    asked: list[Any] = []

    async def erase(request: Request) -> Response:
        asked.append(await request.json())
        return JSONResponse({"id": "ers_1", "state": "accepted"}, 202)

    async def look(request: Request) -> Response:
        return JSONResponse({"id": "ers_1", "state": states.pop(0)})

    routes = [Route("/v1/erasures", erase, methods=["POST"]), Route("/v1/erasures/ers_1", look)]
    site.app.router.routes[:0] = routes
    page = start(site, watched)
    page.click("#account")
    page.click("#erase")
    assert asked == []
    page.click("#erase-sure")
    page.wait_for_selector("#erase-receipt:has-text('ers_1: done')")
    assert asked == [{}]
    assert states == []


def test_privacy_page_answers_the_four_questions_without_a_key_or_script(site: "Site", watched: "Watched") -> None:
    page = watched.page
    sent = page.request.get(site.url + "/privacy").text()
    page.goto(site.url + "/privacy")
    shown = page.locator("main").inner_text()
    for words in ("What is stored", "Who reads it", "How long", "How to delete", "X-Whetstone-Consent: no"):
        assert words in sent, "not there where scripts are off"
        assert words in shown


@pytest.mark.parametrize("mode", ["chat", "complete", "compare", "battle"])
def test_nothing_is_wider_than_a_phone(site: "Site", watched: "Watched", mode: str) -> None:
    Upstream(site, "Yes. " + "word" * 60)
    page = start(site, watched, wide=False)
    page.click(f"#mode-{mode}")
    if mode != "battle":
        page.fill("#prompt", "Really? " + "x" * 200)
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(".turn.assistant:not(.streaming)")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    for selector in ("#prompt", "#send", "#consent-state"):
        box = page.locator(selector).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


def test_list_of_chats_lies_over_the_conversation_on_a_phone_and_goes_away(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Yes.")
    page = start(site, watched, wide=False)
    say(page, "About pears")
    page.click("#history-toggle")
    page.click("#history-close")
    assert not page.locator("#history").is_visible()
    page.click("#history-toggle")
    page.click("#chats .open")
    page.wait_for_selector("#history", state="hidden")
    assert page.locator(".turn.user .text").inner_text() == "About pears"


def test_every_control_has_a_name(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Yes.")
    page = start(site, watched)
    say(page, "Really?")
    nameless = page.locator("button:visible, input:visible, select:visible, textarea:visible").evaluate_all(
        """nodes => nodes.filter(node => !(node.getAttribute("aria-label") || node.textContent.trim()
            || node.labels?.length || node.title || node.placeholder)).map(node => node.outerHTML)"""
    )
    assert nameless == []


def test_no_two_elements_share_an_id(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Yes.")
    page = start(site, watched)
    page.click("#mode-compare")
    ids = page.locator("[id]").evaluate_all("nodes => nodes.map(node => node.id)")
    assert sorted({id for id in ids if ids.count(id) > 1}) == []
