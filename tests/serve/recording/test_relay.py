"""From the spool to the ledger: once, in order, past what can never go, and never in anybody's way."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from feedback import interactions, keys, metrics, tombstones
from feedback.client import Ledger, encode
from feedback.errors import LedgerUnavailable
from feedback.records import Interaction
from serve.recording.refused import FILE
from serve.recording.relay import BATCH_RECORDS, Relay
from serve.recording.spool import Spool
from tests.builders import make_interaction
from tests.conftest import RedisServer

pytestmark = pytest.mark.redis
DAY_S = 24 * 3600.0


class Line:
    """A spool and a relay that is stepped by hand."""

    def __init__(self, directory: Path, url: str) -> None:
        self.at = 1_800_000_000.0
        self.spool = Spool(directory, 1 << 26, 1 << 20, now=lambda: self.at)
        self.gone: list[str] = []
        self.relay = Relay(
            self.spool, Ledger(url, 0.25), self.gone.extend, keep_s=3600, max_age_s=DAY_S, now=lambda: self.at
        )

    def put(self, *records: Interaction) -> None:
        assert self.spool.append([(each.id, encode(each).encode()) for each in records]) == len(records)

    def drain(self) -> int:
        steps = 0
        while self.relay.step():
            steps += 1
        return steps


@pytest.fixture
def line(tmp_path: Path, ledger: Ledger) -> Iterator[Line]:
    found = Line(tmp_path, ledger.url)
    yield found
    found.spool.close()


def fates() -> dict[str, float]:
    names = ("relayed", "duplicate", "erased", "refused", "dropped")
    return {name: metrics.REGISTRY.get_sample_value("whetstone_recorded_total", {"fate": name}) or 0 for name in names}


def since(before: dict[str, float]) -> dict[str, float]:
    return {name: count - before[name] for name, count in fates().items() if count != before[name]}


def until(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def test_records_go_in_batches_in_order_and_leave_nothing(line: Line, ledger: Ledger) -> None:
    before = fates()
    records = [make_interaction(f"{number}") for number in range(3 * BATCH_RECORDS)]
    line.put(*records)
    assert line.drain() <= 4
    assert [each for _, each in interactions.read(ledger)] == records
    assert line.gone == [each.id for each in records]
    assert since(before) == {"relayed": len(records)}
    assert 3500 < ledger.redis.ttl(keys.interaction(records[0].id)) <= 3600


def test_what_the_ledger_has_is_a_duplicate_and_logged_once(line: Line, ledger: Ledger) -> None:
    before = fates()
    first, second = make_interaction("1"), make_interaction("2")
    interactions.append(ledger, first)
    line.put(first, second, second)
    line.drain()
    assert [each for _, each in interactions.read(ledger)] == [first, second]
    assert since(before) == {"relayed": 1, "duplicate": 2}


def test_what_cannot_be_read_is_put_aside_with_its_reason_and_blocks_no_other(line: Line, ledger: Ledger) -> None:
    before = fates()
    good = [make_interaction(f"{number}") for number in range(3)]
    line.put(good[0])
    line.spool.append([("bad", b'{"id": "bad"}'), ("worse", b"\xff\xfe not text")])
    line.put(*good[1:])
    line.drain()
    assert [each for _, each in interactions.read(ledger)] == good
    assert since(before) == {"relayed": 3, "refused": 2}
    aside = (line.spool.directory / FILE).read_bytes().splitlines()
    assert [each.split(b"\t")[0] for each in aside] == [b"bad", b"worse"]
    assert b"not a Interaction" in aside[0]
    assert line.gone == [good[0].id, "bad", "worse", good[1].id, good[2].id]


def test_a_wrong_type_in_the_ledger_concerns_one_record_alone_and_leaves_no_half(line: Line, ledger: Ledger) -> None:
    before = fates()
    ledger.redis.set(keys.interactions_of("cursed"), "a string where a sorted set belongs")
    cursed, good = make_interaction(customer="cursed"), [make_interaction("1"), make_interaction("2")]
    line.put(good[0], cursed, good[1])
    line.drain()
    assert [each for _, each in interactions.read(ledger)] == good
    assert since(before) == {"relayed": 2, "refused": 1}
    assert not ledger.redis.exists(keys.interaction(cursed.id))


def test_a_wrong_type_that_all_share_stops_the_relay_and_loses_nothing(line: Line, ledger: Ledger) -> None:
    ledger.redis.set(keys.INTERACTIONS, "not a stream")
    made = make_interaction()
    line.put(made)
    with pytest.raises(LedgerUnavailable, match="not a stream"):
        line.relay.step()
    ledger.redis.delete(keys.INTERACTIONS)
    line.drain()
    assert [each for _, each in interactions.read(ledger)] == [made]


def test_a_ledger_that_refuses_writes_keeps_everything_in_the_spool(line: Line, ledger: Ledger) -> None:
    before = fates()
    records = [make_interaction(f"{number}") for number in range(5)]
    line.put(*records)
    ledger.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(LedgerUnavailable, match="refuses writes"):
            line.relay.step()
    finally:
        ledger.redis.config_set("maxmemory", 0)
    line.drain()
    assert [each for _, each in interactions.read(ledger)] == records
    assert since(before) == {"relayed": 5}


def test_a_frozen_ledger_is_waited_for_a_quarter_of_a_second(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    assert server.process is not None
    line = Line(tmp_path / "spool", server.url)
    line.put(make_interaction())
    server.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable):
            line.relay.step()
        assert time.monotonic() - began < 0.6
    finally:
        server.process.send_signal(signal.SIGCONT)
    line.drain()
    assert interactions.count(Ledger(server.url)) == 1
    line.spool.close()
    server.kill()


def test_what_was_made_before_its_customer_was_erased_is_not_logged_and_what_came_after_is(
    line: Line, ledger: Ledger
) -> None:
    before = fates()
    old, new = make_interaction("old"), make_interaction("new")
    ledger.redis.hset(keys.ERASED, "acme", f"{old.created_at.timestamp():.3f}")
    new = msgspec.structs.replace(new, created_at=new.created_at.replace(hour=13))
    other = make_interaction("other", customer="other")
    line.put(old, new, other)
    line.drain()
    assert [each for _, each in interactions.read(ledger)] == [new, other]
    assert since(before) == {"relayed": 2, "erased": 1}
    assert not ledger.redis.exists(keys.interaction(old.id))


def test_what_waited_too_long_is_dropped_and_counted_even_while_the_ledger_is_down(tmp_path: Path) -> None:
    before = fates()
    line = Line(tmp_path, "redis://127.0.0.1:1/0")
    line.put(make_interaction("old"), make_interaction("old too"))
    line.at += DAY_S + 1
    line.put(make_interaction("fresh"))
    assert line.relay.step()
    with pytest.raises(LedgerUnavailable):
        line.relay.step()
    assert since(before) == {"dropped": 2}
    assert len(line.spool.peek(10)) == 1
    line.spool.close()


def test_a_dead_ledger_is_asked_less_and_less_and_a_running_relay_drains_when_it_is_back(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    line = Line(tmp_path / "spool", server.url)
    asked: list[float] = []
    deliver = line.relay._deliver

    def noting(frames: object) -> None:
        asked.append(time.monotonic())
        deliver(frames)  # type: ignore[arg-type]

    line.relay._deliver = noting  # type: ignore[method-assign]
    records = [make_interaction(f"{number}") for number in range(300)]
    line.put(*records)
    line.relay.start()
    time.sleep(2.5)
    assert 2 <= len(asked) <= 12
    server.start()
    until(lambda: interactions.count(Ledger(server.url)) == 300)
    assert line.relay.close(5)
    assert [each for _, each in interactions.read(Ledger(server.url))] == records
    line.spool.close()
    server.kill()


def test_an_idle_relay_leaves_no_text_on_the_disk(line: Line) -> None:
    line.put(make_interaction("a secret"))
    line.relay.start()
    until(lambda: not list(line.spool.directory.glob("*.spool")))
    assert line.relay.close(5)


def test_what_was_put_aside_goes_with_its_customer(line: Line, ledger: Ledger) -> None:
    ledger.redis.set(keys.interactions_of("cursed"), "a string where a sorted set belongs")
    line.at = time.time()
    line.put(make_interaction("their words", customer="cursed"))
    line.relay.start()
    aside = line.spool.directory / FILE
    until(lambda: aside.exists() and b"their words" in aside.read_bytes())
    tombstones.put(ledger, "cursed", time.time())
    line.relay.wake()
    until(lambda: b"their words" not in aside.read_bytes())
    assert line.relay.close(5)
