"""What speaks for the engine in tests of pages: routes that stream given answers as vLLM would. All else is real."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from feedback import interactions, votes
from feedback.ids import new_id
from feedback.records import Interaction, Message, utc_now
from serve.answering.battles import NAME

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serve.pages.conftest import Site, Watched

VERSION = "policy-0007"
OTHER = "policy-0008"
SEEN = "localStorage.setItem('whetstone-notice', '1')"
"""Runs before the page: its notice was read before."""


def start(site: "Site", watched: "Watched", role: str = "client", *, wide: bool = True) -> "Page":
    """Open the Playground as customer acme, past the notice."""
    watched.page.set_viewport_size({"width": 1360, "height": 850} if wide else {"width": 390, "height": 844})
    watched.page.add_init_script(SEEN)
    page = watched.open(site, "/playground", site.key(role, "acme"))
    page.wait_for_selector("#prompt:focus")
    return page


def say(page: "Page", text: str, answers: int = 1) -> None:
    """Ask something and wait until so many answers in sight are complete."""
    page.fill("#prompt", text)
    page.keyboard.press("Enter")
    page.wait_for_function(
        """count => !document.querySelector('.turn.streaming')
            && document.querySelectorAll('.turn.assistant').length >= count""",
        arg=answers,
    )


class Upstream:
    """Streams an answer word by word and remembers what it was asked."""

    def __init__(self, site: "Site", answer: str | dict[str, str], pause_s: float = 0.005) -> None:
        """Put the routes before the real ones.

        Args:
            site: whose application and ledger.
            answer: what is said, for all versions or by version; ``503`` is an error of that status.
            pause_s: seconds between words.
        """
        self.site = site
        self.answer = answer
        self.pause_s = pause_s
        self.customer = "acme"
        self.aliases = {"live": VERSION, "candidate": OTHER}
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.closed_early = 0
        site.app.router.routes[:0] = [
            Route("/v1/models", self.models),
            Route("/v1/chat/completions", self.complete, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
        ]

    @property
    def consents(self) -> list[str | None]:
        return [headers.get("x-whetstone-consent") for headers in self.headers]

    async def models(self, request: Request) -> Response:
        names = {**self.aliases, VERSION: VERSION, OTHER: OTHER}
        return JSONResponse({"object": "list", "data": [{"id": name, "root": root} for name, root in names.items()]})

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        name = body["model"]
        side = NAME.fullmatch(name)
        version = self.aliases.get(name, name)
        if side is not None:
            battle = await asyncio.to_thread(votes.find_battle, self.site.ledger, side[1])
            assert battle is not None
            version = battle.versions["ab".index(side[2])]
        answer = self.answer if isinstance(self.answer, str) else self.answer[version]
        if answer == "503":
            error = {"message": "every slot is busy", "type": "unavailable_error", "param": None, "code": "overloaded"}
            return JSONResponse({"error": error}, 503, {"Retry-After": "1"})
        shown = name if side is not None else version
        chat = request.url.path.endswith("chat/completions")
        logged = request.headers.get("x-whetstone-consent") != "no"
        events = self.events(body, answer, version, shown, chat, logged)
        return StreamingResponse(events, media_type="text/event-stream", headers={"X-Policy-Version": shown})

    async def events(
        self, body: dict[str, Any], answer: str, version: str, shown: str, chat: bool, logged: bool
    ) -> AsyncIterator[str]:
        id = new_id("x").replace("x_", "chatcmpl-" if chat else "cmpl-")
        messages = body.get("messages") or [{"role": "user", "content": body.get("prompt", "")}]
        interaction = Interaction(
            id=id,
            created_at=utc_now(),
            customer=self.customer,
            key_id="key",
            messages=[Message(**message) for message in messages],
            completion=answer,
            finish_reason="stop",
            policy_version=version,
        )
        if logged:
            await asyncio.to_thread(interactions.append, self.site.ledger, interaction)
        pieces = answer.split(" ")
        count = body.get("n", 1)
        try:
            for number, piece in enumerate(pieces):
                text = piece if number == len(pieces) - 1 else piece + " "
                choices = [self.choice(index, f"{text}{index or ''}", chat, body) for index in range(count)]
                yield self.event(id, shown, choices)
                await asyncio.sleep(self.pause_s)
        except (asyncio.CancelledError, GeneratorExit):
            self.closed_early += 1
            raise
        ends = [
            {"index": i, "finish_reason": "stop", **({"delta": {}} if chat else {"text": ""})} for i in range(count)
        ]
        yield self.event(id, shown, ends)
        usage = {"prompt_tokens": 5, "completion_tokens": len(pieces)}
        yield f"data: {json.dumps({'id': id, 'model': shown, 'choices': [], 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"

    def choice(self, index: int, text: str, chat: bool, body: dict[str, Any]) -> dict[str, Any]:
        said: dict[str, Any] = {"delta": {"content": text}} if chat else {"text": text}
        if body.get("logprobs") and chat:
            top = [{"token": text, "logprob": -0.1}, {"token": "else", "logprob": -2.5}]
            said["logprobs"] = {"content": [{"token": text, "logprob": -0.1, "top_logprobs": top}]}
        elif body.get("logprobs"):
            said["logprobs"] = {
                "tokens": [text],
                "token_logprobs": [-0.1],
                "top_logprobs": [{text: -0.1, "else": -2.5}],
            }
        return {"index": index, **said}

    def event(self, id: str, model: str, choices: list[dict[str, Any]]) -> str:
        return f"data: {json.dumps({'id': id, 'model': model, 'choices': choices})}\n\n"
