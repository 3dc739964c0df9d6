"""The whole serving application behind a real socket, with an engine that echoes and a key for every role."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from feedback import access
from feedback.client import Ledger
from serve.app import make_app
from serve.door.protocol import options
from serve.engines.base import TRANSCRIPTS, Engine
from serve.engines.slot import Slot
from serve.recording.spool import Spool
from serve.routes.completions import Completions
from serve.settings import ServeSettings
from serve.swapping.traffic import Traffic
from tests.serve.fakes import FakeEngine
from tests.serve.wire import Server

VERSION = "policy-0001"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a completion with its own last words, as an engine would: whole, or as events."""
    asked = json.loads((await receive())["body"])
    prompt = asked["messages"][-1]["content"] if "messages" in asked else asked["prompt"]
    texts = prompt if isinstance(prompt, list) and isinstance(prompt[0], str) else [prompt]
    for said, text in zip(TRANSCRIPTS.get() or [], texts, strict=False):
        said.text, said.finish_reason, said.versions = str(text), "stop", {VERSION}
        said.prompt_tokens = said.completion_tokens = said.sampled_tokens = 1
    chat = "messages" in asked
    choices = [
        {"index": index, "finish_reason": "stop"}
        | ({"message": {"role": "assistant", "content": str(text)}} if chat else {"text": str(text)})
        for index, text in enumerate(texts)
    ]
    answer = {"id": "x", "object": "chat.completion", "model": asked["model"], "choices": choices}
    media, body = "application/json", json.dumps(answer).encode()
    if asked.get("stream"):
        for choice in choices:
            choice["delta" if chat else "text"] = choice.pop("message", choice.get("text"))
        media, body = "text/event-stream", f"data: {json.dumps(answer)}\n\ndata: [DONE]\n\n".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", media.encode())]})
    await send({"type": "http.response.body", "body": body})


async def _start(path: Path, version: str) -> Engine:
    engine = FakeEngine(path, version)
    engine.app = echo  # type: ignore[method-assign]
    return engine  # type: ignore[return-value]


class Served(Server):
    """The application, one live slot, and a key for every role."""

    def __init__(self, ledger: Ledger, root: Path, **settings: Any) -> None:
        given = {"engine": "none", "replica": "wire", "artifact_root": root, "spool_root": root / "spool"}
        self.settings = ServeSettings.load(ledger_url=ledger.url, **(given | settings))
        spool = Spool(root / "spool" / "wire", self.settings.spool_max_bytes, self.settings.spool_segment_bytes)
        self.app = make_app(self.settings, ledger, spool)
        self.ledger = ledger
        slot = Slot("a", _start)
        asyncio.run(slot.put(root, VERSION, 1.0))
        slot.open(VERSION)
        traffic = traffic_of(self.app)
        traffic._slots = (slot,)
        traffic.point(slot)
        self.keys = {role: access.create(ledger, role, f"{role}-one")[0] for role in access.ROLES}
        super().__init__(self.app, **options(self.settings))


def traffic_of(app: FastAPI) -> Traffic:
    """Return the pointer that the completion routes follow."""
    doors = [getattr(route, "endpoint", None) for route in app.router.routes]
    return next(door for door in doors if isinstance(door, Completions))._deps.traffic


@contextmanager
def served(ledger: Ledger, root: Path, **settings: Any) -> Iterator[Served]:
    """Serve until the block ends."""
    found = Served(ledger, root, **settings)
    found.start()
    try:
        yield found
    finally:
        found.stop()


def chat(text: str = "hello", **fields: Any) -> dict[str, Any]:
    """Return the body of a sound chat request."""
    return {"model": "live", "max_tokens": 8, "messages": [{"role": "user", "content": text}], **fields}
