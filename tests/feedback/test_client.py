"""The client: one kind of error when Redis is down, in bounded time, whatever is wrong with it."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from feedback import interactions, keys, policies
from feedback.client import SCRIPTS, Ledger
from feedback.errors import ConfigError, InvalidRecord, LedgerUnavailable
from feedback.records import Interaction, Policy
from feedback.settings import Settings
from tests.builders import make_interaction, make_policy, make_report
from tests.conftest import RedisServer, free_port


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that this test may treat badly."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def test_a_dead_redis_is_unavailable_within_a_second() -> None:
    ledger = Ledger(f"redis://127.0.0.1:{free_port()}/0")
    began = time.monotonic()
    with pytest.raises(LedgerUnavailable, match="no Redis answers"):
        ledger.ping()
    assert time.monotonic() - began < 1.0


def test_a_hung_redis_is_unavailable_after_the_timeout_and_not_a_multiple_of_it(own_server: RedisServer) -> None:
    known = Ledger(own_server.url, timeout_s=0.5)
    known.ping()
    assert own_server.process is not None
    os.kill(own_server.process.pid, signal.SIGSTOP)
    try:
        for ledger in (known, Ledger(own_server.url, timeout_s=0.5)):
            began = time.monotonic()
            with pytest.raises(LedgerUnavailable):
                ledger.ping()
            assert 0.4 < time.monotonic() - began < 1.2
    finally:
        os.kill(own_server.process.pid, signal.SIGCONT)
    known.ping()


def test_an_address_that_answers_nothing_is_unavailable_in_bounded_time() -> None:
    began = time.monotonic()
    with pytest.raises(LedgerUnavailable):
        Ledger("redis://192.0.2.1:6379/0", timeout_s=0.5).ping()  # a network reserved for examples
    assert time.monotonic() - began < 3.0


def test_the_ledger_is_reached_again_after_a_restart_of_redis(own_server: RedisServer) -> None:
    ledger = Ledger(own_server.url)
    ledger.ping()
    own_server.kill()
    with pytest.raises(LedgerUnavailable):
        ledger.ping()
    own_server.start()
    ledger.ping()
    assert interactions.append(ledger, make_interaction())


def test_connecting_checks_that_something_answers() -> None:
    settings = Settings.load(ledger_url=f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(LedgerUnavailable):
        Ledger.connect(settings)


def test_a_full_redis_refuses_as_unavailable_and_keeps_what_it_has(own_server: RedisServer) -> None:
    ledger = Ledger(own_server.url)
    kept = make_interaction()
    interactions.append(ledger, kept)
    ledger.redis.config_set("maxmemory", "100kb")
    with pytest.raises(LedgerUnavailable, match="refuses writes"):
        interactions.append(ledger, make_interaction())
    with pytest.raises(LedgerUnavailable, match="refuses writes"):
        policies.add_report(ledger, make_report())
    assert interactions.get(ledger, kept.id) == kept


def test_a_read_only_replica_refuses_as_unavailable(own_server: RedisServer) -> None:
    ledger = Ledger(own_server.url)
    ledger.redis.replicaof("127.0.0.1", free_port())
    with pytest.raises(LedgerUnavailable, match="refuses writes"):
        interactions.append(ledger, make_interaction())


def test_a_wrong_password_is_unavailable_and_no_password_is_shown(own_server: RedisServer) -> None:
    redis.Redis(port=own_server.port).config_set("requirepass", "right")
    Ledger(f"redis://:right@127.0.0.1:{own_server.port}/0").ping()
    for url in (own_server.url, f"redis://:sesame@127.0.0.1:{own_server.port}/0"):
        with pytest.raises(LedgerUnavailable) as caught:
            Ledger(url).ping()
        assert "sesame" not in str(caught.value)
        assert f"127.0.0.1:{own_server.port}" in str(caught.value)


@pytest.mark.parametrize("url", ["", "localhost", "http://127.0.0.1", "redis://127.0.0.1:port/0", "redis://h:99999/0"])
def test_what_is_no_redis_url_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(ConfigError, match="ledger_url"):
        Ledger(url)


def test_a_command_that_is_wrong_stays_a_programming_error(ledger: Ledger) -> None:
    ledger.redis.set(keys.ALIASES, "not a hash")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        policies.aliases(ledger)


def test_a_stored_record_of_another_shape_is_refused(ledger: Ledger) -> None:
    ledger.redis.hset(keys.POLICIES, "policy-0000", '{"version": "policy-0000"}')
    with pytest.raises(InvalidRecord, match="Policy"):
        ledger.hget(keys.POLICIES, "policy-0000", Policy)


def test_a_hash_is_read_in_the_order_of_its_ids(ledger: Ledger) -> None:
    for version in ("policy-0002", "policy-0000", "policy-0001"):
        policies.register(ledger, make_policy(version))
    found = [policy.version for policy in ledger.hall(keys.POLICIES, Policy)]
    assert found == ["policy-0000", "policy-0001", "policy-0002"]


@pytest.mark.parametrize("page", [1, 3, 7, 8, 1000])
def test_a_stream_is_read_whole_whatever_the_page(ledger: Ledger, page: int) -> None:
    made = [make_interaction(str(number)) for number in range(7)]
    for each in made:
        interactions.append(ledger, each)
    read = list(ledger.stream(keys.INTERACTIONS, Interaction, page=page))
    assert [record for _, record in read] == made
    rest = list(ledger.stream(keys.INTERACTIONS, Interaction, after=read[3][0], page=page))
    assert [record for _, record in rest] == made[4:]


def test_one_ledger_may_be_shared_by_threads(ledger: Ledger) -> None:
    faults: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                assert interactions.append(ledger, make_interaction())
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert interactions.count(ledger) == 400


def test_every_script_says_what_its_keys_and_arguments_are() -> None:
    scripts = list(SCRIPTS.glob("*.lua"))
    assert len(scripts) >= 10
    for script in scripts:
        head = script.read_text().split("\n\n")[0]
        assert "-- KEYS" in head, script.name
        assert "ARGV" in head, script.name


def test_scripts_survive_a_flush_of_the_script_cache(ledger: Ledger) -> None:
    assert interactions.append(ledger, make_interaction())
    ledger.redis.script_flush()
    assert interactions.append(ledger, make_interaction())
