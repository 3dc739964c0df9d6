"""``/v1/chat/completions`` and ``/v1/completions``: our door in front of the engine's own OpenAI application.

Pure ASGI: authenticates, checks the body, picks a slot, hands the request on and the answer through as it comes, and
gives the recorder what was said. Of n > 1 answers the first is recorded. Prompts of token ids are answered, not
recorded: nobody could label them.
"""

import time

import msgspec
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from feedback.errors import ServingError
from feedback.ids import new_id
from feedback.log import get
from feedback.records import ApiKey, Interaction, utc_now
from serve.auth import authenticate_async
from serve.dependencies import Dependencies
from serve.engines.base import TRANSCRIPTS, Engine, Transcript
from serve.errors import InvalidRequest, to_response
from serve.limits import Asked, Kind, check
from serve.replies import EngineReply

PATHS: dict[Kind, str] = {"chat": "/v1/chat/completions", "text": "/v1/completions"}
PREFIXES: dict[Kind, str] = {"chat": "chatcmpl-", "text": "cmpl-"}
"""What vLLM puts before the id that we give it; the whole is the interaction's id."""
ROLES = ("client", "operator")
BROKEN_OFF = "aborted"
"""Finish reason of an answer that the caller did not wait for."""

log = get(__name__)


class Completions:
    """The ASGI endpoint of one of the two paths."""

    def __init__(self, deps: Dependencies, kind: Kind) -> None:
        self._deps = deps
        self._kind: Kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; errors before the engine speaks are raised for the application's handlers."""
        scope["state"]["route"] = PATHS[self._kind]
        headers = Headers(scope=scope)
        key = await authenticate_async(headers, ROLES, self._deps.keys)
        consent = key.consent and _consents(headers)
        asked = check(await _body(receive), self._kind, self._deps.settings)
        base_id = new_id("x").removeprefix("x_")
        slot = await self._deps.traffic.enter(asked.model, headers.get("x-conversation-id", key.id))
        with slot.hold() as engine:
            version = slot.version
            draft = self._draft(f"{PREFIXES[self._kind]}{base_id}", key, asked, version)
            scope["state"].update(request_id=draft.id, version=version)
            body = msgspec.json.encode({**asked.forward, "model": version})
            inner = _inner_scope(scope, PATHS[self._kind], base_id)
            reply = EngineReply(send, version)
            said = [Transcript() for _ in asked.prompts]
            transcript = said[0]
            recorded = consent and bool(asked.messages)
            if recorded:
                self._deps.recorder.begin(draft)
            started = time.perf_counter()
            try:
                await _ask(engine, inner, _replay(body, receive), reply, said)
            finally:
                if recorded:
                    self._record(draft, transcript, reply.status, time.perf_counter() - started)
        if reply.failure is not None:
            response = to_response(reply.failure if not engine.dead else ServingError("the engine died"))
            response.headers["X-Policy-Version"] = version
            await response(scope, receive, send)

    def _draft(self, id: str, key: ApiKey, asked: Asked, version: str) -> Interaction:
        return Interaction(
            id=id,
            created_at=utc_now(),
            customer=key.owner,
            key_id=key.id,
            messages=asked.messages,
            completion="",
            finish_reason="",
            policy_version=version,
            sampling=asked.sampling,
        )

    def _record(self, draft: Interaction, said: Transcript, status: int, latency_s: float) -> None:
        mixed = said.versions - {draft.policy_version}
        if mixed:
            log.error(
                "an answer came from other weights than its stamp", stamp=draft.policy_version, found=sorted(mixed)
            )
        if mixed or status != 200 or not (said.finish_reason or said.completion_tokens):
            self._deps.recorder.forget(draft.id)
            return
        self._deps.recorder.finish(
            msgspec.structs.replace(
                draft,
                completion=said.text,
                finish_reason=said.finish_reason or BROKEN_OFF,
                prompt_tokens=said.prompt_tokens,
                completion_tokens=said.completion_tokens,
                latency_s=latency_s,
            )
        )


async def _ask(engine: Engine, scope: Scope, receive: Receive, reply: EngineReply, said: list[Transcript]) -> None:
    token = TRANSCRIPTS.set(said)
    try:
        await engine.app(scope, receive, reply.send)
    finally:
        TRANSCRIPTS.reset(token)


def _consents(headers: Headers) -> bool:
    """Return what the header says; it can only narrow what the key allows."""
    said = headers.get("x-whetstone-consent", "yes").strip().lower()
    if said not in ("yes", "no"):
        raise InvalidRequest("X-Whetstone-Consent must be yes or no", param="X-Whetstone-Consent", code="invalid_value")
    return said == "yes"


async def _body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the connection closed before the body was complete")
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body once and then whatever the connection says, above all a disconnect."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _inner_scope(scope: Scope, path: str, base_id: str) -> Scope:
    """Return a scope that carries nothing of the caller's but its address."""
    return {
        "type": "http",
        "asgi": scope["asgi"],
        "http_version": scope["http_version"],
        "method": "POST",
        "scheme": scope["scheme"],
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json"), (b"x-request-id", base_id.encode())],
        "client": scope.get("client"),
        "server": scope.get("server"),
        "state": {},
    }
