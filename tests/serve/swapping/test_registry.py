import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from feedback import canary, keys, policies, promotion
from feedback.client import Ledger
from feedback.errors import LedgerUnavailable, NotFound
from feedback.records import Policy, SwapEvent, utc_now
from serve.engines.slot import SlotState
from serve.swapping.registry import Registry, View
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
    watched.note(event("policy-0001")).result(5)
    assert [swap.version for swap in promotion.swaps(ledger)] == ["policy-0001"]
    assert asyncio.run(watched.look()) == View({"live": "policy-0001"}, None)
    beat = json.loads(str(ledger.redis.get(keys.replica("r1"))))
    assert beat["slots"] == [{"slot": "a", "version": "policy-0001", "state": "ready", "in_flight": 3}]
    watched.close()


def test_while_the_ledger_is_down_a_look_is_none_and_events_wait(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    server.kill()
    watched = registry(server.url)

    async def story() -> None:
        watched.note(event("policy-0001"))
        watched.note(event("policy-0002"))
        started = time.monotonic()
        assert await watched.look() is None
        assert time.monotonic() - started < 5
        with pytest.raises(LedgerUnavailable):
            await watched.policy("policy-0001")
        await asyncio.to_thread(server.start)
        assert await watched.look() == View()

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


def test_a_policy_once_seen_is_known_while_the_ledger_is_down(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    record = Policy(version="policy-0001", created_at=utc_now(), kind="base", path="p", sha256="0" * 64)
    policies.register(Ledger(server.url), record)
    watched = registry(server.url)

    async def story() -> None:
        assert (await watched.policy("policy-0001"))[0] == record
        await asyncio.to_thread(server.kill)
        assert (await watched.policy("policy-0001"))[0] == record

    asyncio.run(story())
    watched.close()


def two_policies(ledger: Ledger) -> None:
    for version in ("policy-0001", "policy-0002"):
        record = Policy(version=version, created_at=utc_now(), kind="base", path="p", sha256="0" * 64)
        policies.register(ledger, record)


async def until_changed(watched: Registry, move: Callable[[], object], within_s: float) -> float:
    """Return how long after ``move`` the registry said that something changed."""
    waiting = asyncio.create_task(watched.changed(within_s))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    started = time.monotonic()
    await asyncio.to_thread(move)
    await waiting
    return time.monotonic() - started


def test_every_move_is_told_at_once_also_one_between_two_waits(ledger: Ledger) -> None:
    two_policies(ledger)
    watched = registry(ledger.url)

    async def story() -> None:
        await watched.look()
        moves: list[Callable[[], object]] = [
            lambda: promotion.promote(ledger, "policy-0001", "olga"),
            lambda: promotion.promote(ledger, "policy-0002", "olga"),
            lambda: promotion.roll_back(ledger, "olga"),
            lambda: canary.begin(ledger, "policy-0002", 5, "olga"),
            lambda: canary.end(ledger, "olga"),
        ]
        for move in moves:
            assert await until_changed(watched, move, 10.0) < 0.1
        canary.begin(ledger, "policy-0002", 7, "olga")
        started = time.monotonic()
        await watched.changed(10.0)
        assert time.monotonic() - started < 0.1
        found = await watched.look()
        assert found is not None
        assert found.canary is not None
        assert (found.aliases["live"], found.canary.share) == ("policy-0001", 7)

    asyncio.run(story())
    watched.close()


def test_a_user_who_may_not_wait_on_the_audit_still_looks(ledger: Ledger) -> None:
    ledger.redis.acl_setuser(
        "blind", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-xread", "-xrevrange"], channels=["*"]
    )
    try:
        watched = registry(ledger.url.replace("redis://", "redis://blind:x@"))

        async def story() -> None:
            assert await watched.look() == View()
            started = time.monotonic()
            await watched.changed(0.3)
            assert 0.25 < time.monotonic() - started < 1.0

        asyncio.run(story())
        watched.close()
    finally:
        ledger.redis.acl_deluser("blind")


def test_the_canary_that_was_judged_is_ended_and_no_other(ledger: Ledger) -> None:
    two_policies(ledger)
    watched = registry(ledger.url)
    judged = canary.begin(ledger, "policy-0001", 5, "olga")
    later = canary.begin(ledger, "policy-0001", 50, "olga")
    asyncio.run(watched.end_canary(judged, "it errs"))
    assert canary.running(ledger) == later
    asyncio.run(watched.end_canary(later, "it errs"))
    assert canary.running(ledger) is None
    assert [(e.actor, e.reason) for e in promotion.audit(ledger)][-1] == ("guard", "it errs")
    watched.close()
