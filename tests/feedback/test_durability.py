"""Durability: a killed Redis has every label that was acknowledged, and the test would notice if it had not.

A kill leaves the kernel's page cache alone, so it says nothing of a loss of power. For that, the order of the system
calls is looked at: the flush to disk comes before the answer.
"""

import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from feedback import comparisons, durability, labels, policies, promotion, snapshots
from feedback.client import Ledger
from feedback.errors import LedgerUnavailable
from feedback.records import Comparison, Label
from tests.builders import lease_next, make_label, make_policy, open_comparison
from tests.conftest import RedisServer


def label_until_killed(server: RedisServer, after: int) -> tuple[list[str], list[tuple[Label, Comparison, int]]]:
    """Let three labelers work and kill Redis once ``after`` labels are acknowledged.

    Returns:
        ids of the acknowledged labels, and (label, comparison, token) of those whose fate their labeler does not know.
    """
    acknowledged: list[str] = []
    unknown: list[tuple[Label, Comparison, int]] = []

    def work(labeler: str) -> None:
        ledger = Ledger(server.url, timeout_s=2.0)
        while True:
            try:
                open_comparison(ledger)
                lease = lease_next(ledger, labeler)
                comparison = comparisons.get(ledger, lease.item_id)
            except LedgerUnavailable:
                return
            made = make_label(comparison, labeler=labeler)
            try:
                labels.submit(ledger, made, comparison, lease.token)
            except LedgerUnavailable:
                unknown.append((made, comparison, lease.token))
                return
            acknowledged.append(made.id)

    threads = [threading.Thread(target=work, args=(f"labeler-{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < after and any(thread.is_alive() for thread in threads):
        time.sleep(0.001)
    server.kill()
    for thread in threads:
        thread.join()
    return acknowledged, unknown


def test_after_kill_9_every_acknowledged_label_is_there_once_and_retries_add_no_second(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    acknowledged: list[str] = []
    try:
        for kill in range(3):
            ids, unknown = label_until_killed(server, after=30 + 7 * kill)
            acknowledged += ids
            server.start()
            ledger = Ledger(server.url)
            for made, comparison, token in unknown:
                labels.submit(ledger, made, comparison, token)
                acknowledged.append(made.id)
            stored = Counter(label.id for _, label in labels.read(ledger))
            assert set(acknowledged) <= set(stored)
            assert set(stored.values()) == {1}
        assert len(acknowledged) > 100
        snapshot = snapshots.build(ledger, tmp_path / "artifacts")
        assert set(acknowledged) <= set(snapshot.labels)
    finally:
        server.kill()


def test_without_an_append_only_file_the_same_kill_loses_labels(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis", "--appendonly", "no")
    server.start()
    try:
        acknowledged, _ = label_until_killed(server, after=30)
        server.start()
        stored = [label.id for _, label in labels.read(Ledger(server.url))]
        assert len(acknowledged) >= 30
        assert stored == []
    finally:
        server.kill()


def test_after_kill_9_aliases_and_audit_agree(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    try:
        ledger = Ledger(server.url)
        for number in range(5):
            policies.register(ledger, make_policy(f"policy-{number:04d}"))
            promotion.promote(ledger, "candidate", "olga")
        server.kill()
        with pytest.raises(LedgerUnavailable):
            promotion.roll_back(ledger, "olga")
        server.start()
        assert policies.aliases(ledger) == {"live": "policy-0004", "previous": "policy-0003"}
        assert [entry.after for entry in promotion.audit(ledger)] == [f"policy-{number:04d}" for number in range(5)]
    finally:
        server.kill()


def test_a_label_is_flushed_to_disk_before_it_is_acknowledged(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    server = RedisServer(tmp_path / "redis")
    server.start()
    try:
        ledger = Ledger(server.url)
        comparison = open_comparison(ledger)
        token = lease_next(ledger).token
        calls = system_calls_during(server, tmp_path, lambda: submit_one(ledger, comparison, token))
    finally:
        server.kill()
    logged = next(place for place, call in enumerate(calls) if "XADD" in call)
    answered = next(place for place, call in enumerate(calls) if "taken" in call and "XADD" not in call)
    flushed = [place for place, call in enumerate(calls) if "fdatasync(" in call or "fsync(" in call]
    assert any(logged < place < answered for place in flushed), "\n".join(calls[logged : answered + 1])


def submit_one(ledger: Ledger, comparison: Comparison, token: int) -> None:
    labels.submit(ledger, make_label(comparison), comparison, token)


def system_calls_during(server: RedisServer, directory: Path, work: Callable[[], None]) -> list[str]:
    """Return what the server wrote and flushed, in order, while ``work`` ran; skips where tracing is not allowed."""
    assert server.process is not None
    trace = directory / "trace"
    calls = "trace=write,writev,fsync,fdatasync"
    options = ["-f", "-s", "2000", "-e", calls, "-o", str(trace), "-p", str(server.process.pid)]
    with subprocess.Popen(["strace", *options], stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        if "attached" not in tracer.stderr.readline():
            pytest.skip("this machine does not allow tracing")
        work()
        tracer.terminate()
        tracer.communicate()
    return trace.read_text().splitlines()


def test_the_shipped_configuration_flushes_every_write_and_evicts_nothing(ledger: Ledger) -> None:
    found = {name: ledger.redis.config_get(name)[name] for name in ("appendonly", "appendfsync", "maxmemory-policy")}
    assert found == {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


def test_what_is_set_otherwise_is_named(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis", "--appendonly", "no", "--maxmemory-policy", "allkeys-lru")
    server.start()
    try:
        found = durability.faults(Ledger(server.url))
    finally:
        server.kill()
    assert found == ["appendonly is no, not yes", "maxmemory-policy is allkeys-lru, not noeviction"]


def test_the_shipped_configuration_has_no_faults(ledger: Ledger) -> None:
    assert durability.faults(ledger) == []


def test_a_redis_that_does_not_tell_is_not_accused(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    try:
        admin = Ledger(server.url).redis
        admin.acl_setuser("app", enabled=True, nopass=True, categories=["+@all"], commands=["-config"])
        assert durability.faults(Ledger(server.url.replace("//", "//app:x@"))) is None
    finally:
        server.kill()


def test_a_redis_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        durability.faults(Ledger("redis://127.0.0.1:1/0", timeout_s=0.2))
