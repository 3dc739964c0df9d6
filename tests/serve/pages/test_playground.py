"""The Playground in a real Chromium; a small ASGI route speaks for the engine, everything else is real."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from feedback import interactions, keys
from feedback.ids import new_id
from feedback.records import Interaction, Message, Rating, utc_now

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serve.conftest import Server
    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]
VERSION = "policy-0007"


class Upstream:
    """Streams a fixed answer as vLLM would, word by word, and remembers what it was asked."""

    def __init__(self, site: "Site", answer: str, pause_s: float = 0.01) -> None:
        self.site = site
        self.answer = answer
        self.pause_s = pause_s
        self.asked: list[dict[str, Any]] = []
        self.consents: list[str | None] = []
        self.closed_early = 0
        routes = [
            Route("/v1/models", self.models),
            Route("/v1/chat/completions", self.complete, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
        ]
        site.app.router.routes[:0] = routes

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "live"}, {"id": VERSION}]})

    async def complete(self, request: Request) -> Response:
        self.asked.append(await request.json())
        self.consents.append(request.headers.get("x-whetstone-consent"))
        if self.answer == "503":
            error = {"message": "every slot is busy", "type": "unavailable_error", "param": None, "code": "overloaded"}
            return JSONResponse({"error": error}, 503, {"Retry-After": "1"})
        chat = request.url.path.endswith("chat/completions")
        headers = {"X-Policy-Version": VERSION}
        return StreamingResponse(self.events(chat), media_type="text/event-stream", headers=headers)

    async def events(self, chat: bool) -> AsyncIterator[str]:
        id = new_id("int")
        interaction = Interaction(
            id=id,
            created_at=utc_now(),
            customer="acme",
            key_id="key",
            messages=[Message(role="user", content="?")],
            completion=self.answer,
            finish_reason="stop",
            policy_version=VERSION,
        )
        await asyncio.to_thread(interactions.append, self.site.ledger, interaction)
        pieces = self.answer.split(" ")
        try:
            for number, piece in enumerate(pieces):
                text = piece if number == len(pieces) - 1 else piece + " "
                yield self.event(id, {"delta": {"content": text}} if chat else {"text": text})
                await asyncio.sleep(self.pause_s)
        except (asyncio.CancelledError, GeneratorExit):
            self.closed_early += 1
            raise
        yield self.event(id, {"delta": {}, "finish_reason": "stop"} if chat else {"text": "", "finish_reason": "stop"})
        usage = {"prompt_tokens": 5, "completion_tokens": len(pieces)}
        yield f"data: {json.dumps({'id': id, 'model': VERSION, 'choices': [], 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"

    def event(self, id: str, choice: dict[str, Any]) -> str:
        return f"data: {json.dumps({'id': id, 'model': VERSION, 'choices': [{'index': 0, **choice}]})}\n\n"


def start(site: "Site", watched: "Watched") -> "Page":
    page = watched.open(site, "/playground", site.key("client", "acme"))
    page.wait_for_selector("#prompt:focus")
    return page


def ratings(site: "Site") -> list[Rating]:
    return [rating for _, rating in site.ledger.stream(keys.RATINGS, Rating)]


def test_answer_streams_names_its_version_and_the_conversation_goes_on(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "People flew to the moon. " * 6 + "The end.", pause_s=0.03)
    page = start(site, watched)
    page.keyboard.type("What was the moon landing?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".turn.streaming .text:has-text('flew')")
    assert "The end." not in page.locator(".turn.assistant .text").inner_text()
    page.wait_for_selector(".turn.assistant:not(.streaming) .text:has-text('The end.')")
    assert page.locator(".turn.assistant .version").inner_text() == VERSION
    figures = page.locator(".turn.assistant .figures").inner_text()
    assert "stop" in figures
    assert "5 → " in figures
    page.keyboard.type("And then?")
    page.keyboard.press("Enter")
    page.locator(".rate:not([hidden])").nth(1).wait_for()
    roles = [[message["role"] for message in asked["messages"]] for asked in upstream.asked]
    assert roles == [["user"], ["user", "assistant", "user"]]
    assert upstream.asked[1]["messages"][1]["content"] == upstream.answer


def test_parameters_reach_the_api_within_its_allowlist(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "Blue.")
    page = start(site, watched)
    page.select_option("#model", VERSION)
    page.fill("#system", "Be brief.")
    page.fill("#temperature", "1.2")
    page.fill("#top_p", "0.9")
    page.fill("#max_tokens", "33")
    page.fill("#seed", "17")
    page.fill("#prompt", "Colour?")
    page.click("#send")
    page.wait_for_selector(".rate:not([hidden])")
    assert upstream.asked == [
        {
            "model": VERSION,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 1.2,
            "top_p": 0.9,
            "max_tokens": 33,
            "seed": 17,
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Colour?"}],
        }
    ]


def test_complete_mode_continues_text(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, " there was a frog.")
    page = start(site, watched)
    page.click("#mode-complete")
    page.fill("#prompt", "Once upon a time")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".rate:not([hidden])")
    assert upstream.asked[0]["prompt"] == "Once upon a time"
    assert "messages" not in upstream.asked[0]
    assert page.locator(".turn.assistant .text").text_content() == " there was a frog."
    assert page.input_value("#prompt") == "Once upon a time"


def test_stop_keeps_what_was_said_and_hangs_up(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "on and " * 400, pause_s=0.02)
    page = start(site, watched)
    page.keyboard.type("Go")
    page.keyboard.press("Enter")
    page.wait_for_selector(".turn.streaming .text:has-text('on and')")
    page.keyboard.press("Escape")
    page.wait_for_selector(".turn.assistant:not(.streaming) .figures:has-text('stopped')")
    assert page.locator(".turn.assistant .text").inner_text().startswith("on and")
    assert page.locator("#send").is_visible()
    page.wait_for_timeout(500)
    assert upstream.closed_early == 1


def test_consent_is_always_in_sight_and_off_is_told_to_the_api(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "Yes.")
    page = start(site, watched)
    for _ in range(2):
        assert page.locator("#consent-state").is_visible()
        page.fill("#prompt", "Hello")
        page.keyboard.press("Enter")
        page.wait_for_selector(".turn.assistant:last-child .rate:not([hidden])")
        page.click(".consent .switch")
    assert [page.locator(".turn .up").nth(turn).is_visible() for turn in (0, 1)] == [True, False]
    assert "not logged" in page.locator(".turn.assistant .figures").nth(1).inner_text()
    assert upstream.consents == [None, "no"]


def test_thumbs_and_words_are_stored_for_that_answer(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Go away.")
    page = start(site, watched)
    page.fill("#prompt", "Hello")
    page.keyboard.press("Enter")
    page.click(".turn .down")
    page.wait_for_selector(".more:not([hidden])")
    page.fill(".comment", "rude")
    page.fill(".edit", "Hello to you.")
    page.click(".more button[type=submit]")
    page.wait_for_selector(".toast:has-text('stored')")
    first, second = ratings(site)
    assert (first.rating, second.rating, second.comment, second.edit) == (-1, -1, "rude", "Hello to you.")
    assert first.interaction_id == second.interaction_id
    assert page.get_attribute(".turn .down", "aria-pressed") == "true"


def test_refusal_is_told_in_words_and_the_prompt_comes_back(site: "Site", watched: "Watched") -> None:
    Upstream(site, "503")
    page = start(site, watched)
    page.fill("#prompt", "Hello")
    page.keyboard.press("Enter")
    page.wait_for_selector(".turn .error:has-text('every slot is busy')")
    assert page.input_value("#prompt") == "Hello"


def test_hostile_answer_is_text(site: "Site", watched: "Watched") -> None:
    hostile = (
        "<img src=x onerror=alert(1)> <script>alert(2)</script> [a](javascript:alert(3)) </p><svg/onload=alert(4)>"
    )
    Upstream(site, hostile)
    page = start(site, watched)
    page.fill("#prompt", hostile)
    page.keyboard.press("Enter")
    page.wait_for_selector(".rate:not([hidden])")
    assert page.locator(".turn .text").all_text_contents() == [hostile, hostile]
    assert page.locator(".turn .text *").count() == 0
    page.wait_for_timeout(200)


@pytest.mark.vllm
@pytest.mark.slow
def test_real_policy_streams_into_the_page_and_its_answer_can_be_rated(server: "Server", watched: "Watched") -> None:
    version = server.live()
    page = watched.open(server, "/playground", server.client_key)
    page.wait_for_selector("#prompt:focus")
    options = page.locator("#model option").all_inner_texts()
    assert f"live → {version}" in options
    page.fill("#temperature", "0")
    page.fill("#max_tokens", "8")
    page.fill("#prompt", "hello")
    page.keyboard.press("Enter")
    page.wait_for_selector(".turn.assistant .rate:not([hidden])")
    reference = server.references[version]
    expected = reference.tokenizer.decode(reference.chat("hello", 8), skip_special_tokens=True)
    # the last character may be cut off in the middle of its bytes, which a stream holds back
    assert page.locator(".turn.assistant .text").text_content() == expected.rstrip("\ufffd")
    assert page.locator(".turn.assistant .version").inner_text() == version
    before = len([*server.ledger.stream(keys.RATINGS, Rating)])
    page.click(".turn .up")
    page.wait_for_selector(".turn .up[aria-pressed=true]")
    server.wait(lambda: len([*server.ledger.stream(keys.RATINGS, Rating)]) == before + 1, "the rating", 10)
    *_, (_, rating) = server.ledger.stream(keys.RATINGS, Rating)
    server.wait(lambda: interactions.count(server.ledger) > 0, "the log", 10)
    assert rating.rating == 1
    assert interactions.get(server.ledger, rating.interaction_id).policy_version == version
