"""``/v1/chat/completions`` and ``/v1/completions``: our door in front of the engine's own OpenAI application.

Pure ASGI: authenticates, checks the body, waits for a turn, picks a slot, hands the request on and the answer through
as it comes. Its last bytes leave when what was said is on disk.
"""

import asyncio
from dataclasses import dataclass

import msgspec
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from feedback.errors import DeadlinePassed, EngineError, Overloaded, UnknownModel, WhetstoneError
from feedback.ids import new_id
from feedback.log import get
from feedback.records import ApiKey
from serve.answering.cutoff import Cutoff
from serve.answering.exchange import Exchange, drafts
from serve.answering.replies import EngineReply
from serve.asking.inert import inert
from serve.asking.limits import Asked, Kind, check
from serve.dependencies import Dependencies
from serve.door.admission import Ticket, Wanted
from serve.door.auth import authenticate_async
from serve.door.idempotency import name_of
from serve.door.quotas import Left
from serve.door.wishes import Wishes, read
from serve.engines.base import TRANSCRIPTS, Engine
from serve.errors import InvalidRequest, to_response

log = get(__name__)

PATHS: dict[Kind, str] = {"chat": "/v1/chat/completions", "text": "/v1/completions"}
PREFIXES: dict[Kind, str] = {"chat": "chatcmpl-", "text": "cmpl-"}
"""What vLLM puts before the id that we give it; the whole is the interaction's id."""
ROLES = ("client", "operator")
BYTES_PER_TOKEN = 3
"""Cautious guess of how many bytes of text make a token, for pricing a request before it is tokenised."""
CLIENT_CLOSED = 499
"""Status in the metrics of a request whose caller did not wait for the end."""
BACKGROUND = 1
"""vLLM's priority of background work; everybody else has 0, which comes first."""


@dataclass(kw_only=True)
class Call:
    """A request on its way: who asks for what, and what it used so far."""

    key: ApiKey
    asked: Asked
    wishes: Wishes
    deadline: float
    """Moment on the event loop's clock."""
    used_tokens: int = 0
    ticket: Ticket | None = None

    @property
    def recorded(self) -> bool:
        """True if the prompts and answers may be kept."""
        return self.key.consent and self.wishes.consent


class Completions:
    """The ASGI endpoint of one of the two paths."""

    def __init__(self, deps: Dependencies, kind: Kind) -> None:
        self._deps = deps
        self._kind: Kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a refusal names the version that was live."""
        scope["state"]["route"] = PATHS[self._kind]
        try:
            await self._door(scope, receive, send)
        except WhetstoneError as error:
            await _refuse(error, self._deps.traffic.live_version, scope, receive, send)

    async def _door(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in once it is known to be sound and to have room."""
        deps, started = self._deps, asyncio.get_running_loop().time()
        headers = Headers(scope=scope)
        key = await authenticate_async(headers, ROLES, deps.keys)
        wishes = read(headers, deps.settings.deadline_s, deps.settings.max_deadline_s)
        body = await _body(receive)
        asked = check(body, self._kind, deps.settings)
        call = Call(key=key, asked=asked, wishes=wishes, deadline=started + wishes.deadline_s)
        async with deps.answers.once(key.owner, name_of(headers, stream=asked.stream), body, scope, send) as fresh:
            if fresh is not None:
                await self._enter(call, scope, receive, fresh)

    async def _enter(self, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for a turn."""
        deps, key, asked = self._deps, call.key, call.asked
        if call.recorded and not deps.recorder.accepts:
            raise Overloaded("prompts cannot be logged now, and this service answers none that it should log")
        tokens = price(asked)
        wanted = Wanted(
            owner=key.id,
            places=asked.n * len(asked.prompts),
            tokens=tokens,
            deadline=call.deadline,
            background=call.wishes.background,
        )
        await deps.quotas.learn(key.id)
        deps.quotas.take(key, tokens)
        try:
            async with deps.admission.enter(wanted) as call.ticket:
                await self._route(call, scope, receive, send)
        finally:
            deps.quotas.settle(key, tokens, call.used_tokens)

    async def _route(self, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        """Find the slot, and let its engine answer."""
        name, traffic = call.asked.model, self._deps.traffic
        hidden = name.startswith("battle-")
        if hidden:
            side = await asyncio.to_thread(self._deps.battles.side, name, call.key.owner)
            if side is None:
                raise UnknownModel("no such battle of yours, or it is over; begin another one")
            slot = await traffic.enter(side, "")
        else:
            slot = await traffic.enter(name, call.wishes.conversation or call.key.id)
        with slot.hold() as engine:
            scope["state"]["version"] = slot.version
            call.asked = inert(call.asked, engine.controls)
            await self._deps.trials.check(call.asked.schemas, engine.tokenizer_path, call.asked.held_by)
            await self._answer(call, engine, slot.version, name if hidden else "", scope, receive, send)

    async def _answer(
        self, call: Call, engine: Engine, version: str, shown: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let the engine answer, and tell what went wrong if something did."""
        asked, deps = call.asked, self._deps
        base_id = new_id("x").removeprefix("x_")
        answer_id = scope["state"]["request_id"] = PREFIXES[self._kind] + base_id
        exchange = Exchange(deps.recorder, drafts(asked, call.key, answer_id, version), recorded=call.recorded)

        async def before_end() -> None:
            if call.ticket is not None:
                call.ticket.leave()  # the engine is done; a caller who asks again at once must find the place free
            await exchange.record()

        limits = _limit_headers(deps.quotas.left(call.key))
        reply = EngineReply(send, version, before_end, shown=shown, headers=limits)
        forward = {**asked.forward, "model": version, "priority": BACKGROUND if call.wishes.background else 0}
        cutoff = Cutoff(msgspec.json.encode(forward), receive, call.deadline)
        token = TRANSCRIPTS.set(exchange.transcripts)
        try:
            await engine.app(_inner_scope(scope, PATHS[self._kind], base_id), cutoff.receive, reply.send)
        except Exception:
            if not engine.dead:
                raise
            # Given up in the middle, an engine raises whatever its closed parts do; `_what_failed` says what it means.
            log.warning("an engine that died broke a request off", version=version, exc_info=True)
        finally:
            TRANSCRIPTS.reset(token)
            exchange.write(usable=reply.status == 200)
            call.used_tokens = exchange.tokens
        if cutoff.left and not reply.ended:
            scope["state"]["status"] = CLIENT_CLOSED
            return
        error = None if reply.ended else _what_failed(call, reply, cutoff, engine)
        if not isinstance(error, InvalidRequest):
            deps.traffic.outcome(version, error is None, exchange.empty, exchange.seconds)
        if error is not None and reply.status == 200:
            await reply.end(error)
        elif error is not None:
            await _refuse(error, shown or version, scope, receive, send)


def _what_failed(call: Call, reply: EngineReply, cutoff: Cutoff, engine: Engine) -> WhetstoneError:
    """Return why an answer did not come to its end."""
    if cutoff.expired:
        return DeadlinePassed(f"the answer was not complete within {call.wishes.deadline_s:g} s")
    if engine.dead or reply.failure is None:
        return EngineError("the engine broke off")
    return reply.failure


async def _refuse(error: WhetstoneError, version: str, scope: Scope, receive: Receive, send: Send) -> None:
    response = to_response(error)
    response.headers["X-Policy-Version"] = version or "none"
    await response(scope, receive, send)


def price(asked: Asked) -> int:
    """Return how many tokens a request may take, guessed before it is tokenised."""
    prompts, answers = asked.prompt_bytes // BYTES_PER_TOKEN + 1, asked.max_tokens * len(asked.prompts)
    return prompts + answers * asked.n


def _limit_headers(left: Left) -> list[tuple[bytes, bytes]]:
    """Return OpenAI's headers that tell a caller how much is left."""
    named = {
        b"x-ratelimit-limit-requests": left.requests_per_minute,
        b"x-ratelimit-remaining-requests": left.requests_left,
        b"x-ratelimit-limit-tokens": left.tokens_per_day,
        b"x-ratelimit-remaining-tokens": left.tokens_left_today,
    }
    return [(name, str(value).encode()) for name, value in named.items() if value is not None]


async def _body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the connection closed before the body was complete")
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _inner_scope(scope: Scope, path: str, base_id: str) -> Scope:
    """Return a scope that carries nothing of the caller's but its address."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},  # from 2.4 on a disconnect would not be listened for
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
