"""The right to run rounds: renewed in the background, lost to whoever took over, and kept through an outage."""

import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from feedback import keys, metrics, rounds
from feedback.client import Ledger
from tests.conftest import RedisServer
from trainer.rounds.lease import Lease


def until(done: object, seconds: float = 10.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not done():  # type: ignore[operator]  # a function of no arguments
        assert time.monotonic() < deadline_s, "not in time"
        time.sleep(0.02)


def lost() -> float:
    return metrics.REGISTRY.get_sample_value("whetstone_round_lease_lost_total") or 0.0


def test_it_is_renewed_for_as_long_as_it_is_kept(ledger: Ledger) -> None:
    lease = Lease(ledger, ttl_s=1)
    assert lease.take()
    with lease.kept() as number:
        assert number == lease.number == 1
        ledger.redis.pexpire(keys.ROUND_LOCK, 400)
        until(lambda: ledger.redis.pttl(keys.ROUND_LOCK) > 600)
        assert not Lease(ledger).take()
        assert lease.held
    lease.let_go()
    other = Lease(ledger)
    assert other.take()
    assert other.number == 2


def test_a_holder_that_stood_still_too_long_learns_that_it_lost(ledger: Ledger) -> None:
    lease, before = Lease(ledger, ttl_s=1), lost()
    assert lease.take()
    with lease.kept():
        ledger.redis.set(keys.ROUND_LOCK, "another")  # as after its end
        ledger.redis.incr(keys.ROUND_FENCE)
        until(lambda: not lease.held)
        ledger.redis.delete(keys.ROUND_LOCK)
        assert not lease.held, "for good: the round went on elsewhere"
    assert lost() == before + 1
    assert lease.take()
    assert lease.number == 3


def test_an_outage_of_the_ledger_loses_nothing(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    ledger = Ledger(server.url, timeout_s=0.5)
    lease = Lease(ledger, ttl_s=1)
    assert lease.take()
    with lease.kept() as number, capture_logs() as said:
        server.kill()
        until(lambda: sum(line["event"] == "lease not renewed" for line in said) >= 2)
        assert lease.held, "nobody else can have taken it"
        server.start()
        until(lambda: ledger.redis.pttl(keys.ROUND_LOCK) > 600)
        assert (lease.held, lease.number) == (True, number)
    server.kill()


@pytest.mark.parametrize("ttl_s", [1, 60])
def test_it_lasts_as_long_as_was_said(ledger: Ledger, ttl_s: int) -> None:
    assert Lease(ledger, ttl_s).take()
    assert (ttl_s - 1) * 1000 < ledger.redis.pttl(keys.ROUND_LOCK) <= ttl_s * 1000
    assert rounds.hold(ledger, "another") == 0
