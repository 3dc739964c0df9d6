"""The door in front of an engine, with an engine whose application a test writes."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from feedback import access, interactions
from feedback.client import Ledger
from feedback.records import Interaction
from serve import errors
from serve.answering.battles import Battles
from serve.asking.trials import Trials
from serve.dependencies import Dependencies
from serve.door.admission import Admission
from serve.door.idempotency import Answers
from serve.door.keycache import KeyCache
from serve.door.middleware import Surround
from serve.door.quotas import Quotas
from serve.engines.base import TRANSCRIPTS, Engine
from serve.engines.slot import Slot
from serve.recording.durable import Durable
from serve.recording.recorder import Recorder
from serve.recording.spool import Spool
from serve.routes.completions import Completions
from serve.settings import ServeSettings
from serve.swapping.traffic import Traffic
from serve.swapping.watchdog import Watchdog
from tests.serve.fakes import FakeEngine

PATH = "/v1/chat/completions"
BODY = {"model": "live", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def body_of(receive: Receive) -> dict[str, Any]:
    return dict(json.loads((await receive())["body"]))


async def say_yes(scope: Scope, receive: Receive, send: Send, versions: tuple[str, ...] = ("policy-0001",)) -> None:
    """Answer with the request's own body, as if "yes" had been generated."""
    body = await body_of(receive)
    (said,) = TRANSCRIPTS.get() or []
    said.text, said.finish_reason, said.prompt_tokens, said.completion_tokens = "yes", "stop", 3, 1
    said.versions |= set(versions)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    seen = {"body": body, "headers": [name.decode() for name, _ in scope["headers"]], "path": scope["path"]}
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})


class Door:
    """The endpoint over one live slot whose engine runs ``engine_app``."""

    def __init__(self, ledger: Ledger, directory: Path) -> None:
        self.ledger = ledger
        self.engine_app: App = say_yes
        self.slot = Slot("a", self._start)
        asyncio.run(self.slot.put(directory, "policy-0001", 1.0))
        self.slot.open("policy-0001")
        self.traffic = Traffic([self.slot])
        self.traffic.point(self.slot)
        self.recorder = Recorder(Spool(directory / "spool", 1 << 20, 1 << 16), Ledger(ledger.url))
        self.recorder.start()
        self.deps = deps = Dependencies(
            settings=ServeSettings.load(),
            ledger=ledger,
            traffic=self.traffic,
            watchdog=Watchdog([], 30.0),
            recorder=self.recorder,
            keys=KeyCache(ledger, 60),
            battles=Battles(ledger, self.traffic.names, 50),
            admission=Admission(64, 64, 1 << 20),
            quotas=Quotas(ledger, 0, 0),
            trials=Trials(1.0),
            answers=Answers(),
            durability=Durable(ledger, "refuse"),
        )
        app = FastAPI()
        errors.install(app)
        app.add_middleware(Surround, max_body_bytes=1 << 20)
        app.router.routes.append(Route(PATH, Completions(deps, "chat"), methods=["POST"]))
        self.app = app
        self.key = access.create(ledger, "client", "alice")[0]

    async def _start(self, path: Path, version: str) -> Engine:
        engine = FakeEngine(path, version)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await self.engine_app(scope, receive, send)

        engine.app = app  # type: ignore[method-assign]
        return engine

    def ask(self, key: str = "", model: str = "live", **headers: str) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                bearer = {"Authorization": f"Bearer {key or self.key}"}
                return await client.post(
                    PATH, json={**BODY, "model": model, "user": "u"}, headers={**bearer, **headers}
                )

        return asyncio.run(send())

    def logged(self) -> list[Interaction]:
        """Return all that was recorded, once the recorder is through."""
        self.recorder.close()
        return [each for _, each in interactions.read_new(self.ledger, "test")]
