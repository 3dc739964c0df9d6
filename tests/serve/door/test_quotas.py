"""Requests a minute and tokens a day, alone and over replicas."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from feedback import usage
from feedback.client import Ledger
from feedback.errors import RateLimited
from feedback.records import ApiKey, utc_now
from serve.door.quotas import Quotas
from tests.conftest import RedisServer

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


def key(id: str = "key_a", requests: int = 0, tokens: int = 0) -> ApiKey:
    return ApiKey(
        id=id, role="client", owner="ada", secret_sha256="x", created_at=utc_now(),
        requests_per_minute=requests, tokens_per_day=tokens,
    )  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.s = NOON

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_key_without_limits_has_none(clock: Clock) -> None:
    quotas = Quotas(Ledger("redis://127.0.0.1:1/0"), 0, 0, clock)
    for _ in range(1000):
        quotas.take(key(), 10**9)
    assert quotas.left(key()).requests_left is None
    assert quotas.left(key()).tokens_left_today is None


def test_requests_come_back_with_time(clock: Clock) -> None:
    quotas = Quotas(Ledger("redis://127.0.0.1:1/0"), 30, 0, clock)
    for left in range(29, -1, -1):
        quotas.take(key(), 1)
        assert quotas.left(key()).requests_left == left
    with pytest.raises(RateLimited, match="30 requests a minute") as refused:
        quotas.take(key(), 1)
    assert refused.value.retry_after_s == pytest.approx(2)
    quotas.take(key("key_b"), 1)
    clock.s += 2
    quotas.take(key(), 1)
    with pytest.raises(RateLimited):
        quotas.take(key(), 1)


def test_a_keys_own_limits_come_before_those_of_the_process(clock: Clock) -> None:
    quotas = Quotas(Ledger("redis://127.0.0.1:1/0"), 1000, 0, clock)
    own = key(requests=1, tokens=50)
    quotas.take(own, 50)
    assert quotas.left(own).requests_per_minute == 1
    assert quotas.left(own).tokens_per_day == 50
    with pytest.raises(RateLimited, match="1 requests"):
        quotas.take(own, 0)


def test_tokens_are_reserved_then_counted_and_come_back_at_midnight(ledger: Ledger, clock: Clock) -> None:
    quotas = Quotas(ledger, 0, 100, clock)
    quotas.take(key(), 60)
    with pytest.raises(RateLimited, match="100 tokens a day") as refused:
        quotas.take(key(), 60)
    assert refused.value.retry_after_s == 12 * 3600
    quotas.settle(key(), 60, 30)
    assert quotas.left(key()).tokens_left_today == 70
    quotas.take(key(), 70)
    quotas.settle(key(), 70, 70)
    with pytest.raises(RateLimited, match="0 are left"):
        quotas.take(key(), 1)
    clock.s += 12 * 3600
    asyncio.run(quotas.sync())
    quotas.take(key(), 100)


def test_replicas_and_restarts_share_the_count_of_the_day(ledger: Ledger, clock: Clock) -> None:
    async def play() -> None:
        first, second = Quotas(ledger, 0, 100, clock), Quotas(ledger, 0, 100, clock)
        first.take(key(), 40)
        first.settle(key(), 40, 40)
        await first.sync()
        await second.learn("key_a")
        assert second.left(key()).tokens_left_today == 60
        second.take(key(), 50)
        second.settle(key(), 50, 50)
        await second.sync()
        await first.sync()
        assert first.left(key()).tokens_left_today == 10
        await first.sync()
        assert usage.add(ledger, datetime.fromtimestamp(NOON, UTC).date(), {"key_a": 0}) == {"key_a": 90}

    asyncio.run(play())


def test_a_ledger_that_is_down_refuses_nobody_and_is_told_later(tmp_path: Path, clock: Clock) -> None:
    server = RedisServer(tmp_path)
    quotas = Quotas(Ledger(server.url, 0.2), 0, 100, clock)

    async def play() -> None:
        await quotas.learn("key_a")
        quotas.take(key(), 30)
        quotas.settle(key(), 30, 30)
        await quotas.sync()
        assert quotas.left(key()).tokens_left_today == 70

    asyncio.run(play())
    with pytest.raises(RateLimited):
        quotas.take(key(), 71)
    server.start()
    try:
        quotas.take(key(), 5)
        quotas.settle(key(), 5, 5)
        asyncio.run(quotas.sync())
        day = datetime.fromtimestamp(NOON, UTC).date()
        assert usage.add(Ledger(server.url), day, {"key_a": 0}) == {"key_a": 35}
        assert quotas.left(key()).tokens_left_today == 65
    finally:
        server.kill()
