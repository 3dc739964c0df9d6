"""A round killed at every point it has, and begun again, is the round that nobody killed.

The stages are stand-ins that leave ready outputs at once; ledger, files, snapshots, registration and the service are
real. A walk is run in a forked process that kills itself (SIGKILL) before its n-th act, an act being a write to the
ledger or a change to the file system; then another process finishes the round. For every n.
"""

import itertools
import json
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

from feedback import artifacts, comparisons, keys, labels, leases, policies, promotion, rounds
from feedback import demonstrations as answers
from feedback import prompts as pool
from feedback.client import Ledger
from feedback.errors import StageFailed
from tests.builders import (
    make_completion,
    make_demonstration,
    make_label,
    make_policy,
    make_prompt,
)
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


def ready(stage: str, options: Any, output: Path, **rest: Any) -> dict[str, Any]:
    """Stand in for `run_stage`: leave what the stage would, by one rename, unless it is there."""
    finished: dict[str, Any] = {"stage": stage}
    if stage == "evaluate":
        own = {"kl_nats": 1.0, "eos_rate": 1.0, "pretraining_loss": 2.0}
        finished |= {"policies": {"policy": own, "reference": own}, "length_ratio": {"live": 1.0}, "prompts": 2}
        finished["win_rate"] = {"live": {"mean": 0.7}}
    if not output.exists():
        draft = output.with_name(output.name + ".partial")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for name, content in {
            "metrics.json": finished,
            "config.json": [stage, [Path(word).name for word in options]],
            "settings.json": {},
            "probe.json": [],
            "uses.json": {},
            "disagreement.json": {},
        }.items():
            (draft / name).write_text(json.dumps(content))
        draft.rename(output)
    return finished


@pytest.fixture
def settings(ledger: Ledger, tmp_path: Path) -> TrainerSettings:
    return TrainerSettings.load(
        ledger_url=ledger.url,
        artifact_root=tmp_path / "artifacts",
        work_root=tmp_path / "training",
        min_demonstrations=1,
    )


@pytest.fixture
def filled(ledger: Ledger, settings: TrainerSettings) -> Ledger:
    """A ledger with a base and an SFT policy, two labels, two demonstrations and an unranked comparison."""
    for kind in ("base", "sft"):
        version = policies.next_version(ledger)
        with artifacts.new_directory(settings.artifact_root / "policies" / version) as draft:
            (draft / "config.json").write_text(kind)
        policies.register(ledger, make_policy(version, kind=kind, path=f"policies/{version}", parent="policy-0000"))
        promotion.promote(ledger, version, "test")
    for number in range(2):
        prompt = make_prompt(f"Question {number}?", customer=f"customer-{number}")
        pool.keep(ledger, prompt, f"hash-{number}", 200)
        leases.open_item(ledger, prompt.id, answers.QUEUE, 1, number)
        lease = leases.lease(ledger, answers.QUEUE, "lee")
        assert lease is not None
        answers.submit(ledger, make_demonstration(prompt), lease.token)
        planned = comparisons.plan(ledger, prompt, 4)
        comparisons.complete(ledger, planned, [make_completion(f"Reply {number} {n}.") for n in range(4)])
        lease = leases.lease(ledger, "training", "lee")
        assert lease is not None
        full = comparisons.get(ledger, planned.id)
        labels.submit(ledger, make_label(full), full, lease.token)
    unranked = comparisons.plan(ledger, make_prompt("Question 9?"), 4)
    comparisons.complete(ledger, unranked, [make_completion(f"Reply {n}.") for n in range(4)])
    return ledger


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


def test_a_cancelled_round_registers_no_policy_and_the_next_one_leaves_no_gap(
    filled: Ledger, settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(stage: str, options: Any, output: Path, **rest: Any) -> dict[str, Any]:
        if stage == "ppo":
            rounds.cancel(filled)
            assert rest["may_go_on"]() is False
            raise StageFailed("ended by SIGTERM")
        return ready(stage, options, output, **rest)

    monkeypatch.setattr(work, "run_stage", cancelled)
    service = Service(settings, filled)
    rounds.request(filled, "ppo")
    service.once()
    (record,) = rounds.list_rounds(filled)
    assert (record.state, record.stage, record.error) == ("cancelled", "ppo", "an operator cancelled it")
    assert record.finished_at is not None
    assert len(policies.list_policies(filled)) == 2
    service.once()
    assert len(rounds.list_rounds(filled)) == 1, "nobody asked again"
    monkeypatch.setattr(work, "run_stage", ready)
    rounds.request(filled, "ppo")
    service.once()
    assert rounds.list_rounds(filled)[-1].version == "policy-0002"


def test_a_full_disk_fails_the_round_and_not_the_service(
    filled: Ledger, settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(work, "run_stage", full)
    rounds.request(filled, "sft")
    Service(settings, filled).once()
    (record,) = rounds.list_rounds(filled)
    assert (record.state, record.error) == ("failed", "[Errno 28] No space left on device")


def test_a_round_is_compared_with_what_was_live_when_it_began(
    filled: Ledger, settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    against: list[str] = []

    def promoting(stage: str, options: Any, output: Path, **rest: Any) -> dict[str, Any]:
        if stage == "sft":
            promotion.promote(filled, "policy-0000", "olga")
        if stage == "evaluate":
            against.append(options[options.index("--against") + 1])
        return ready(stage, options, output, **rest)

    monkeypatch.setattr(work, "run_stage", promoting)
    rounds.request(filled, "sft")
    Service(settings, filled).once()
    assert rounds.list_rounds(filled)[0].parent == "policy-0001"
    assert against == [f"live={settings.artifact_root / 'policies/policy-0001'}"]
