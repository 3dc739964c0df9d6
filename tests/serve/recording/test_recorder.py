"""What was answered is on disk before the answer ends, and in the ledger once, whatever fails in between."""

import asyncio
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from feedback import interactions, metrics
from feedback.client import Ledger
from feedback.ids import new_id
from feedback.records import Interaction, Message, utc_now
from serve.recording.recorder import FAILED_S, PENDING_RECORDS, Recorder, WhenFull
from serve.recording.spool import Spool
from tests.conftest import RedisServer

pytestmark = pytest.mark.redis
NOWHERE = "redis://127.0.0.1:1/0"


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


def started(
    directory: Path, url: str, max_bytes: int = 1 << 20, wait_s: float = 5.0, when_full: WhenFull = "drop"
) -> Recorder:
    recorder = Recorder(
        Spool(directory, max_bytes, 4096), Ledger(url, 0.25), wait_s=wait_s, when_full=when_full, max_age_s=3600
    )
    recorder.start()
    return recorder


def finish(recorder: Recorder, *records: Interaction) -> list[bool]:
    """Hand the records over and wait until each is on disk or dropped."""

    async def all_of_them() -> list[bool]:
        return list(await asyncio.gather(*map(recorder.finish, records)))

    return asyncio.run(all_of_them())


def until(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def counted(fate: str) -> float:
    return metrics.REGISTRY.get_sample_value("whetstone_recorded_total", {"fate": fate}) or 0.0


def dropped(reason: str) -> float:
    return metrics.REGISTRY.get_sample_value("whetstone_recorded_dropped_total", {"reason": reason}) or 0.0


@contextmanager
def no_file_may_grow_beyond(size_bytes: int) -> Iterator[None]:
    """A disk that is full, as far as this process can tell: writes beyond the size fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_finished_reaches_the_ledger_once_and_is_counted_to_the_unit(tmp_path: Path, ledger: Ledger) -> None:
    before = {fate: counted(fate) for fate in ("spooled", "relayed", "duplicate", "dropped")}
    recorder = started(tmp_path, ledger.url)
    all_of_them = [said(f"number {number}") for number in range(300)]
    assert all(finish(recorder, *all_of_them))
    recorder.close()
    assert interactions.count(ledger) == 300
    assert all(interactions.get(ledger, each.id) == each for each in all_of_them)
    after = {fate: counted(fate) - count for fate, count in before.items()}
    assert after == {"spooled": 300, "relayed": 300, "duplicate": 0, "dropped": 0}


def test_when_finish_says_so_the_record_is_in_a_file(tmp_path: Path) -> None:
    recorder = started(tmp_path, NOWHERE)
    one = said("a needle")
    assert finish(recorder, one) == [True]
    assert any(b"a needle" in path.read_bytes() for path in tmp_path.glob("*.spool"))
    recorder.close(0)


def test_an_interaction_is_pending_from_its_beginning_until_the_ledger_has_it(tmp_path: Path, ledger: Ledger) -> None:
    recorder = started(tmp_path, ledger.url)
    one, other = said("one"), said("other")
    recorder.begin(one)
    recorder.begin(other)
    assert recorder.pending(one.id) == one
    recorder.forget(other.id)
    assert recorder.pending(other.id) is None
    finish(recorder, one)
    until(lambda: recorder.pending(one.id) is None)
    assert interactions.get(ledger, one.id) == one
    recorder.close()


def test_a_dead_ledger_delays_nothing_and_loses_nothing(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    ledger = Ledger(server.url)
    server.kill()
    recorder = started(tmp_path / "spool", server.url)
    began = time.monotonic()
    assert all(finish(recorder, *(said(f"{number}") for number in range(100))))
    assert time.monotonic() - began < 0.5
    server.start()
    until(lambda: interactions.count(ledger) == 100)
    recorder.close()
    assert interactions.count(ledger) == 100
    server.kill()


def test_a_restart_relays_what_the_process_before_left(tmp_path: Path, ledger: Ledger) -> None:
    found = counted("found")
    orphaned = started(tmp_path, NOWHERE)
    finish(orphaned, *(said(f"{number}") for number in range(20)))
    orphaned.close(deadline_s=0)
    heir = started(tmp_path, ledger.url)
    heir.close()
    assert interactions.count(ledger) == 20
    assert counted("found") == found + 20


def test_a_full_spool_drops_counts_and_forgets(tmp_path: Path) -> None:
    before = dropped("full")
    recorder = started(tmp_path, NOWHERE, max_bytes=3000)
    all_of_them = [said(f"{number}") for number in range(50)]
    durable = finish(recorder, *all_of_them)
    kept = sum(durable)
    assert 1 <= kept <= 12
    assert durable == [True] * kept + [False] * (50 - kept)
    assert dropped("full") - before == 50 - kept
    assert [each for each in all_of_them if recorder.pending(each.id)] == all_of_them[:kept]
    assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) <= 3000
    assert recorder.accepts, "the policy is to serve and drop"
    recorder.close(0)


def test_failing_closed_refuses_new_answers_before_the_spool_is_full_and_accepts_again_when_it_is_not(
    tmp_path: Path, ledger: Ledger
) -> None:
    server = RedisServer(tmp_path / "redis")
    recorder = started(tmp_path / "spool", server.url, max_bytes=8000, when_full="refuse")
    taken = 0
    while recorder.accepts:
        assert finish(recorder, said("x")) == [True], "what was accepted is never dropped"
        taken += 1
    assert taken > 5
    server.start()
    until(lambda: recorder.accepts)
    recorder.close()
    assert interactions.count(Ledger(server.url)) == taken
    server.kill()


def test_a_disk_that_refuses_drops_by_count_and_is_tried_again(tmp_path: Path, ledger: Ledger) -> None:
    before = dropped("disk")
    recorder = started(tmp_path, NOWHERE, when_full="refuse")
    long = "too long for what is left of the disk " * 10_000
    assert finish(recorder, said("before")) == [True]
    with no_file_may_grow_beyond(len(long)):
        assert finish(recorder, said(long)) == [False]
        assert not recorder.accepts
        time.sleep(FAILED_S)
        assert recorder.accepts, "one may try"
        assert finish(recorder, said(long)) == [False]
    assert dropped("disk") - before == 2
    assert finish(recorder, said("after")) == [True]
    recorder.close(0)
    heir = started(tmp_path, ledger.url)
    heir.close()
    assert [each.messages[0].content for _, each in interactions.read(ledger)] == ["before", "after"]


def test_a_slow_disk_holds_an_answer_no_longer_than_it_may_and_the_record_is_late_not_lost(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = counted("late")
    open_gate = threading.Event()
    recorder = started(tmp_path, ledger.url, wait_s=0.05)
    append = Spool.append

    def slow(spool: Spool, records: list[tuple[str, bytes]]) -> int:
        assert open_gate.wait(10)
        return append(spool, records)

    monkeypatch.setattr(Spool, "append", slow)
    began = time.monotonic()
    assert finish(recorder, said("late")) == [False]
    assert 0.05 <= time.monotonic() - began < 0.5
    assert counted("late") - before == 1
    open_gate.set()
    recorder.close()
    assert interactions.count(ledger) == 1


def test_a_record_that_could_not_be_read_back_takes_no_other_with_it(tmp_path: Path, ledger: Ledger) -> None:
    before = dropped("invalid")
    recorder = started(tmp_path, ledger.url)
    assert finish(recorder, said("one"), said("half \ud83e"), said("two")) == [True, False, True]
    recorder.close()
    assert [each.messages[0].content for _, each in interactions.read(ledger)] == ["one", "two"]
    assert dropped("invalid") - before == 1


def test_what_comes_after_the_end_is_dropped_and_counted(tmp_path: Path, ledger: Ledger) -> None:
    before = dropped("closed")
    recorder = started(tmp_path, ledger.url)
    recorder.close()
    recorder.close()
    assert finish(recorder, said("too late")) == [False]
    assert dropped("closed") - before == 1


def test_a_crowd_shares_few_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[int] = []
    append = Spool.append

    def counting(spool: Spool, records: list[tuple[str, bytes]]) -> int:
        groups.append(len(records))
        time.sleep(0.01)  # a slow disk
        return append(spool, records)

    monkeypatch.setattr(Spool, "append", counting)
    recorder = started(tmp_path, NOWHERE)
    assert all(finish(recorder, *(said(f"{number}") for number in range(200))))
    assert sum(groups) == 200
    assert len(groups) <= 5
    recorder.close(0)


def test_what_is_pending_is_bounded(tmp_path: Path) -> None:
    recorder = Recorder(Spool(tmp_path, 1 << 26, 1 << 20), Ledger(NOWHERE, 0.25), wait_s=5)
    for _ in range(PENDING_RECORDS + 5):
        recorder.begin(said("x"))
    recorder.start()
    last = said("last")
    finish(recorder, last)
    assert recorder.pending(last.id) == last
    assert len(recorder._pending) <= PENDING_RECORDS
    recorder.close(0)
