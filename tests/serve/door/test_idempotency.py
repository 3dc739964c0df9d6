import asyncio
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.types import Message

from serve.door.idempotency import HEADER, REPEATED, Answers, name_of
from serve.errors import InvalidRequest

PATH = "/v1/chat/completions"


class Wire:
    """Requests to a service that counts how often it had to answer."""

    def __init__(self, **bounds: Any) -> None:
        self.answers = Answers(**bounds)
        self.worked = 0
        self.status = 200
        self.whole = True
        self.may_go = asyncio.Event()
        self.may_go.set()

    async def ask(self, name: str = "k", body: bytes = b"{}", owner: str = "ada", path: str = PATH) -> list[Message]:
        """Return the messages that one caller got."""
        got: list[Message] = []

        async def send(message: Message) -> None:
            got.append(message)

        self.scope: dict[str, Any] = {"path": path, "state": {"request_id": f"own-{len(body)}"}}
        scope = self.scope
        async with self.answers.once(owner, name, body, scope, send) as fresh:
            if fresh is not None:
                self.worked += 1
                scope["state"]["request_id"] = f"answer-{self.worked}"
                await fresh({"type": "http.response.start", "status": self.status, "headers": [(b"a", b"b")]})
                await self.may_go.wait()
                text = b"answer %d" % self.worked
                await fresh({"type": "http.response.body", "body": text, "more_body": not self.whole})
        return got


def body_of(messages: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in messages)


def test_the_same_request_gets_the_answer_that_was_given() -> None:
    async def main() -> None:
        wire = Wire()
        first, second = await wire.ask(), await wire.ask()
        assert wire.worked == 1
        assert body_of(first) == body_of(second) == b"answer 1"
        assert REPEATED in second[0]["headers"]
        assert REPEATED not in first[0]["headers"]
        assert wire.scope["state"]["request_id"] == "answer-1"
        assert body_of(await wire.ask()) == b"answer 1"

    asyncio.run(main())


def test_another_body_or_path_under_the_same_key_is_a_conflict() -> None:
    async def main() -> None:
        wire = Wire()
        await wire.ask()
        for other in ({"body": b"{ }"}, {"path": "/v1/completions"}):
            with pytest.raises(InvalidRequest) as caught:
                await wire.ask(**other)  # type: ignore[arg-type]
            assert (caught.value.status, caught.value.param) == (409, HEADER)
        assert wire.worked == 1

    asyncio.run(main())


def test_owners_and_keys_are_apart_and_no_key_means_no_memory() -> None:
    async def main() -> None:
        wire = Wire()
        for name, owner in (("k", "ada"), ("k", "bob"), ("l", "ada"), ("", "ada"), ("", "ada")):
            await wire.ask(name, owner=owner)
        assert wire.worked == 5

    asyncio.run(main())


def test_a_repetition_waits_for_the_first_to_end() -> None:
    async def main() -> None:
        wire = Wire()
        wire.may_go.clear()
        first = asyncio.create_task(wire.ask())
        second = asyncio.create_task(wire.ask())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        wire.may_go.set()
        assert body_of(await first) == body_of(await second) == b"answer 1"

    asyncio.run(main())


def test_a_failure_can_be_tried_again() -> None:
    async def main() -> None:
        wire = Wire()
        wire.status = 503
        await wire.ask()
        wire.status, wire.whole = 200, False
        await wire.ask()
        wire.whole = True
        assert body_of(await wire.ask()) == b"answer 3"

    asyncio.run(main())


def test_who_waits_for_a_request_that_was_broken_off_does_it_again() -> None:
    async def main() -> None:
        wire = Wire()
        wire.may_go.clear()
        first = asyncio.create_task(wire.ask())
        await asyncio.sleep(0)
        second = asyncio.create_task(wire.ask())
        await asyncio.sleep(0)
        first.cancel()
        wire.may_go.set()
        assert body_of(await second) == b"answer 2"

    asyncio.run(main())


def test_answers_are_forgotten_in_time() -> None:
    async def main() -> None:
        clock = [0.0]
        wire = Wire(kept_s=60, now=lambda: clock[0])
        await wire.ask()
        clock[0] = 59.0
        assert body_of(await wire.ask()) == b"answer 1"
        clock[0] = 61.0
        assert body_of(await wire.ask()) == b"answer 2"

    asyncio.run(main())


def test_the_oldest_answers_make_room() -> None:
    async def main() -> None:
        wire = Wire(most_bytes=20)
        for name in ("a", "b", "c"):
            await wire.ask(name)
        assert body_of(await wire.ask("c")) == b"answer 3"
        assert body_of(await wire.ask("a")) == b"answer 4"
        assert wire.answers._bytes <= 20

    asyncio.run(main())


def test_an_answer_larger_than_all_room_is_not_kept() -> None:
    async def main() -> None:
        wire = Wire(most_bytes=3)
        await wire.ask()
        await wire.ask()
        assert wire.worked == 2

    asyncio.run(main())


def test_an_owner_can_be_forgotten() -> None:
    async def main() -> None:
        wire = Wire()
        await wire.ask()
        wire.answers.forget("ada")
        assert body_of(await wire.ask()) == b"answer 2"

    asyncio.run(main())


@pytest.mark.parametrize("value", ["", " ", "a b", "x" * 129, "\x7f", "ü"])
def test_malformed_keys_are_refused(value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        name_of(Headers({HEADER: value}), stream=False)
    assert caught.value.param == HEADER


def test_keys_are_for_whole_answers() -> None:
    assert name_of(Headers({HEADER: "k-1"}), stream=False) == "k-1"
    assert name_of(Headers({}), stream=True) == ""
    with pytest.raises(InvalidRequest):
        name_of(Headers({HEADER: "k-1"}), stream=True)
    with pytest.raises(InvalidRequest):
        name_of(Headers(raw=[(b"idempotency-key", b"a"), (b"idempotency-key", b"b")]), stream=False)
