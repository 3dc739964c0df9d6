"""A round killed at every point it has, and begun again, is the round that nobody killed.

The stages are stand-ins that leave ready outputs at once; ledger, files, snapshots, registration and the service are
real. A walk is run in a forked process that kills itself (SIGKILL) before its n-th act, an act being a write to the
ledger or a change to the file system; then another process finishes the round. For every n.
"""

import itertools
import multiprocessing
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from feedback import artifacts, keys, rounds
from feedback.client import Ledger
from tests.trainer.rounds.stand_ins import fill, ready, settings_in
from trainer.rounds import work
from trainer.rounds.service import Service
from trainer.settings.service import TrainerSettings

READS = {"GET", "HGET", "HMGET", "HGETALL", "MGET", "XLEN", "XRANGE", "SMEMBERS", "ZRANGE", "HLEN", "SCAN", "PING"}
FILE_ACTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.copyfile", "shutil.rmtree", "shutil.copytree"}
RECORDED = (keys.SNAPSHOTS, keys.REWARD_MODELS, keys.POLICIES, keys.REPORTS, keys.ALIASES, keys.ROUNDS)
TIMES = re.compile(r'"(created_at|finished_at)":"[^"]*"|"seconds":\{[^}]*\}')


class Points:
    """Counts the acts of this process and kills it before one of them."""

    def __init__(self, fatal: int) -> None:
        self.count, self.fatal = 0, fatal

    def act(self) -> None:
        self.count += 1
        if self.count == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, root: Path) -> None:
        """Count from now on, for the rest of this process: nothing of it can be taken back."""

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            if event in FILE_ACTS and str(arguments[0]).startswith(str(root)):
                self.act()

        sys.addaudithook(audit)
        execute = redis.Redis.execute_command

        def counted(this: Any, *words: Any, **options: Any) -> Any:
            if words[0] not in READS:
                self.act()
            return execute(this, *words, **options)

        redis.Redis.execute_command = counted  # type: ignore[method-assign]


@pytest.fixture
def settings(ledger: Ledger, tmp_path: Path) -> TrainerSettings:
    return settings_in(ledger, tmp_path)


@pytest.fixture
def filled(ledger: Ledger, settings: TrainerSettings) -> Ledger:
    return fill(ledger, settings)


def forked(settings: TrainerSettings, fatal: int = 0) -> tuple[int | None, int]:
    """Let a process of its own look once; return its exit code and how many acts it made (0 if it was killed)."""

    def look() -> None:
        work.run_stage = ready  # type: ignore[assignment]
        points = Points(fatal)
        points.watch(settings.artifact_root.parent)
        Service(settings, Ledger(settings.ledger_url)).once()
        told.send(points.count)

    heard, told = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=look)
    process.start()
    process.join(60)
    return process.exitcode, heard.recv() if heard.poll() else 0


def state_of(ledger: Ledger, settings: TrainerSettings) -> dict[str, Any]:
    """Return the registry and the artifacts, without times and with the round's id made the same."""
    (record,) = rounds.list_rounds(ledger)
    name = record.id.removeprefix("rnd_")

    def plain(text: str) -> str:
        return TIMES.sub("", text.replace(name, "ROUND"))

    hashes = {key: {plain(k): plain(v) for k, v in ledger.redis.hgetall(key).items()} for key in RECORDED}
    root = settings.artifact_root
    files = {
        plain(str(path.relative_to(root))): artifacts.sha256_of(path) for path in root.rglob("*") if path.is_file()
    }
    unfinished = [str(path) for path in settings.work_root.rglob("unranked*")]
    return {**hashes, "counter": ledger.redis.get(keys.POLICY_COUNTER), "files": files, "unfinished": unfinished}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sft", "ppo"])
def test_a_round_killed_before_any_of_its_acts_ends_as_if_nobody_had(
    filled: Ledger, settings: TrainerSettings, kind: str
) -> None:
    rounds.request(filled, kind)
    before = _dump(filled)
    untouched = settings.artifact_root.parent / "untouched"
    shutil.copytree(settings.artifact_root, untouched)

    def again() -> None:
        _restore(filled, before)
        shutil.rmtree(settings.work_root, ignore_errors=True)
        shutil.rmtree(settings.artifact_root)
        shutil.copytree(untouched, settings.artifact_root)

    assert forked(settings)[0] == 0
    expected = state_of(filled, settings)
    (record,) = rounds.list_rounds(filled)
    assert (record.state, record.version, record.error) == ("done", "policy-0002", "")
    assert expected["counter"] == "3"
    assert len(expected[keys.SNAPSHOTS]) == len(expected[keys.REPORTS]) == 1
    assert len(expected[keys.REWARD_MODELS]) == (kind == "ppo")
    for fatal in itertools.count(1):
        again()
        code, acts = forked(settings, fatal)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        filled.redis.delete(keys.ROUND_LOCK)  # as after its end
        assert forked(settings)[0] == 0
        assert state_of(filled, settings) == expected, f"killed before act {fatal}"
    assert acts == fatal - 1 > 25, "the last one lived through all acts"


def _dump(ledger: Ledger) -> dict[bytes, bytes]:
    raw = redis.Redis.from_url(ledger.url)
    return {key: raw.dump(key) for key in raw.scan_iter()}  # type: ignore[misc]


def _restore(ledger: Ledger, dumped: dict[bytes, bytes]) -> None:
    raw = redis.Redis.from_url(ledger.url)
    raw.flushall()
    for key, value in dumped.items():
        raw.restore(key, 0, value)
