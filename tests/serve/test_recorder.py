import time
from pathlib import Path

import pytest

from feedback import interactions
from feedback.client import Ledger
from feedback.ids import new_id
from feedback.records import Interaction, Message, utc_now
from serve.recorder import Recorder
from serve.spool import Spool
from tests.conftest import RedisServer

pytestmark = pytest.mark.redis


def said(text: str) -> Interaction:
    """Return an interaction about ``text``."""
    return Interaction(
        id=new_id("chatcmpl"),
        created_at=utc_now(),
        customer="alice",
        key_id="key",
        messages=[Message(role="user", content=text)],
        completion="yes",
        finish_reason="stop",
        policy_version="policy-0001",
    )


def started(directory: Path, url: str, max_bytes: int = 1 << 20) -> Recorder:
    recorder = Recorder(Spool(directory, max_bytes, 4096), Ledger(url, 0.5))
    recorder.start()
    return recorder


def wait_for(ledger: Ledger, count: int) -> None:
    until = time.monotonic() + 10
    while interactions.count(ledger) < count and time.monotonic() < until:
        time.sleep(0.02)


def test_what_is_finished_reaches_the_ledger_once(tmp_path: Path, ledger: Ledger) -> None:
    recorder = started(tmp_path, ledger.url)
    all_of_them = [said(f"number {number}") for number in range(200)]
    for each in all_of_them:
        recorder.begin(each)
        recorder.finish(each)
    wait_for(ledger, 200)
    recorder.close()
    assert interactions.count(ledger) == 200
    assert all(interactions.get(ledger, each.id) == each for each in all_of_them)


def test_an_interaction_is_pending_from_its_beginning_until_the_ledger_has_it(tmp_path: Path, ledger: Ledger) -> None:
    recorder = started(tmp_path, ledger.url)
    one, other = said("one"), said("other")
    recorder.begin(one)
    recorder.begin(other)
    assert recorder.pending(one.id) == one
    recorder.forget(other.id)
    assert recorder.pending(other.id) is None
    recorder.finish(one)
    wait_for(ledger, 1)
    time.sleep(0.1)
    assert recorder.pending(one.id) is None
    recorder.close()


def test_a_dead_ledger_delays_nothing_and_loses_nothing(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    ledger = Ledger(server.url)
    server.kill()
    recorder = started(tmp_path / "spool", server.url)
    began = time.monotonic()
    for number in range(100):
        recorder.finish(said(f"{number}"))
    assert time.monotonic() - began < 0.5
    time.sleep(0.5)
    server.start()
    wait_for(ledger, 100)
    time.sleep(0.2)
    assert interactions.count(ledger) == 100
    recorder.close()
    server.kill()


def test_a_restart_relays_what_the_process_before_left(tmp_path: Path, ledger: Ledger) -> None:
    orphaned = started(tmp_path, "redis://127.0.0.1:1/0")
    for number in range(20):
        orphaned.finish(said(f"{number}"))
    orphaned.close(deadline_s=2)
    heir = started(tmp_path, ledger.url)
    wait_for(ledger, 20)
    heir.close()
    assert interactions.count(ledger) == 20


def test_relaying_twice_logs_once(tmp_path: Path, ledger: Ledger) -> None:
    each = said("again")
    interactions.append(ledger, each)
    recorder = started(tmp_path, ledger.url)
    recorder.finish(each)
    recorder.close()
    assert interactions.count(ledger) == 1


def test_a_full_spool_drops_and_forgets(tmp_path: Path) -> None:
    recorder = started(tmp_path, "redis://127.0.0.1:1/0", max_bytes=2000)
    all_of_them = [said(f"{number}") for number in range(50)]
    for each in all_of_them:
        recorder.finish(each)
    time.sleep(0.5)
    kept = [each for each in all_of_them if recorder.pending(each.id)]
    assert kept == all_of_them[: len(kept)]
    assert 1 <= len(kept) <= 10
    recorder.close(deadline_s=2)
