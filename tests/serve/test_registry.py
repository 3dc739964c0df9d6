import asyncio
import json
import time
from pathlib import Path

import pytest

from feedback import keys, policies, promotion
from feedback.client import Ledger
from feedback.errors import LedgerUnavailable, NotFound
from feedback.records import Policy, SwapEvent, utc_now
from serve.engines.slot import SlotState
from serve.registry import Registry
from tests.conftest import RedisServer

pytestmark = pytest.mark.redis
SLOTS = [SlotState(slot="a", version="policy-0001", state="ready", in_flight=3)]


def registry(url: str, root: Path = Path("/nowhere")) -> Registry:
    return Registry(url, "r1", root, lambda: SLOTS)


def event(version: str) -> SwapEvent:
    return SwapEvent(at=utc_now(), replica="r1", version=version, state="live")


def test_a_look_returns_the_aliases_and_beats_and_an_event_is_written_at_once(ledger: Ledger) -> None:
    ledger.redis.hset(keys.ALIASES, "live", "policy-0001")
    watched = registry(ledger.url)
    asyncio.run(watched.note(event("policy-0001")))
    assert [swap.version for swap in promotion.swaps(ledger)] == ["policy-0001"]
    assert asyncio.run(watched.look()) == {"live": "policy-0001"}
    beat = json.loads(str(ledger.redis.get(keys.replica("r1"))))
    assert beat["slots"] == [{"slot": "a", "version": "policy-0001", "state": "ready", "in_flight": 3}]
    watched.close()


def test_while_the_ledger_is_down_a_look_is_none_and_events_wait(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    server.kill()
    watched = registry(server.url)

    async def story() -> None:
        await watched.note(event("policy-0001"))
        await watched.note(event("policy-0002"))
        started = time.monotonic()
        assert await watched.look() is None
        assert time.monotonic() - started < 5
        with pytest.raises(LedgerUnavailable):
            await watched.policy("policy-0001")
        await asyncio.to_thread(server.start)
        assert await watched.look() == {}

    asyncio.run(story())
    assert [swap.version for swap in promotion.swaps(Ledger(server.url))] == ["policy-0001", "policy-0002"]
    watched.close()
    server.kill()


def test_a_policys_path_may_be_relative_to_the_artifact_root(ledger: Ledger, tmp_path: Path) -> None:
    for version, path in (("policy-0001", str(tmp_path / "here")), ("policy-0002", "below")):
        record = Policy(version=version, created_at=utc_now(), kind="base", path=path, sha256="0" * 64)
        policies.register(ledger, record)
    watched = registry(ledger.url, tmp_path)

    async def paths() -> list[Path]:
        return [(await watched.policy(version))[1] for version in ("policy-0001", "policy-0002")]

    assert asyncio.run(paths()) == [tmp_path / "here", tmp_path / "below"]
    with pytest.raises(NotFound):
        asyncio.run(watched.policy("policy-0009"))
    watched.close()
