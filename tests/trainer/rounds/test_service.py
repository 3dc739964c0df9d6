"""Rounds from the ledger to a registered candidate: real Redis, real child processes, a tiny random policy."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from feedback import comparisons, demonstrations, keys, labels, leases, policies, promotion, prompts, rounds, snapshots
from feedback.client import Ledger, encode
from tests.builders import (
    make_comparison,
    make_completion,
    make_demonstration,
    make_label,
    make_messages,
    make_policy,
    make_prompt,
    make_round,
    open_comparison,
)
from trainer.rounds.register import probe_model
from trainer.rounds.report import register_base
from trainer.rounds.service import Service
from trainer.settings.service import TrainerSettings

SMALL = {
    "sft": {"epochs": 1, "batch_size": 8, "max_completion_tokens": 12},
    "start": {"epochs": 1, "batch_size": 8, "max_completion_tokens": 12},
    "reward": {"batch_size": 8, "max_completion_tokens": 12},
    "ppo": {"episodes": 48, "batch_size": 16, "minibatches": 2, "max_completion_tokens": 12, "ptx_per_episode": 0.5},
    "evaluate": {"max_completion_tokens": 12, "bootstrap": 100},
}
CUSTOMERS = ("acme", "bolt", "cord", "dune", "elm", "fig", "gem", "hut", "ink", "jam", "kit", "log")


@pytest.fixture
def settings(ledger: Ledger, tmp_path: Path, text_file: Path) -> TrainerSettings:
    return TrainerSettings.load(
        ledger_url=ledger.url,
        artifact_root=tmp_path / "artifacts",
        work_root=tmp_path / "training",
        pretraining=[text_file],
        held_out_text=[text_file],
        min_demonstrations=4,
        stage_options=SMALL,
        trainer_poll_s=0.1,
        trainer_threads=1,
    )


def answer(ledger: Ledger, number: int, split: str) -> None:
    """Let a customer ask, and unless the prompt is held out, a labeler demonstrate and rank."""
    prompt = make_prompt(f"Question {number}?", customer=CUSTOMERS[number % 12], split=split)
    prompts.keep(ledger, prompt, f"hash-{number}", 200)
    if split == "test":
        return
    leases.open_item(ledger, prompt.id, demonstrations.QUEUE, 1, number)
    lease = leases.lease(ledger, demonstrations.QUEUE, "lee")
    assert lease is not None
    shown = make_demonstration(prompt, response=f"Answer {number}.")
    demonstrations.submit(ledger, shown, lease.token)
    planned = comparisons.plan(ledger, prompt, 4)
    comparisons.complete(ledger, planned, [make_completion(f"Reply {number} {n}.") for n in range(4)])
    lease = leases.lease(ledger, "training", "lee")
    assert lease is not None
    full = comparisons.get(ledger, planned.id)
    labels.submit(ledger, make_label(full), full, lease.token)


@pytest.fixture
def filled(ledger: Ledger, settings: TrainerSettings, tiny_policy_dir: Path) -> Ledger:
    """A ledger with a live base, prompts of three splits, demonstrations and labels."""
    base = register_base(ledger, settings.artifact_root, tiny_policy_dir, probe_model(tiny_policy_dir))
    promotion.promote(ledger, base.version, "test")
    for number in range(24):
        answer(ledger, number, ("train", "train", "valid", "test")[number % 4])
    return ledger


def wait_for(done: object, seconds: float = 240.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not done():  # type: ignore[operator]  # a function of no arguments
        assert time.monotonic() < deadline_s, "not done in time"
        time.sleep(0.2)


def ended(ledger: Ledger, count: int) -> bool:
    return sum(each.state != "running" for each in rounds.list_rounds(ledger)) >= count


@pytest.fixture
def service(settings: TrainerSettings, filled: Ledger) -> Iterator[Service]:
    running = Service(settings, Ledger(settings.ledger_url))
    thread = threading.Thread(target=running.run)
    thread.start()
    yield running
    running.stopping.set()
    thread.join(60)


@pytest.mark.slow
def test_an_sft_round_then_a_ppo_round_give_candidates_with_full_lineage(
    service: Service, filled: Ledger, settings: TrainerSettings
) -> None:
    rounds.request(filled, "sft")
    wait_for(lambda: ended(filled, 1))
    first = rounds.list_rounds(filled)[0]
    assert (first.state, first.error) == ("done", "")
    assert policies.aliases(filled)["live"] == "policy-0000", "only the gate and an operator move live"
    assert policies.aliases(filled)["candidate"] == first.version == "policy-0001"
    promotion.promote(filled, "candidate", "test")

    unranked = open_comparison(filled)
    rounds.request(filled, "ppo")
    wait_for(lambda: ended(filled, 2))
    second = rounds.list_rounds(filled)[1]
    assert (second.state, second.error) == ("done", "")
    assert set(second.seconds) >= {"snapshot", "reward", "disagree", "ppo", "evaluate"}
    assert 0 <= float(filled.redis.hget(keys.item(unranked.id), "disagreement") or "-1") <= 1
    policy = policies.get(filled, second.version)
    assert (policy.parent, policy.reference) == ("policy-0001", "policy-0001")
    model = policies.reward_model(filled, policy.reward_model_id)
    assert model.snapshot_id == policy.snapshot_id == second.snapshot_id
    assert len(snapshots.get(filled, second.snapshot_id).labels) == labels.count(filled)
    report = policies.report(filled, second.version)
    assert report is not None
    assert report.figures["win_rate"]["n"] == 12, "valid and test prompts are held out"
    assert {"kl_nats", "length_ratio", "eos_rate", "pretraining_loss_rise"} <= set(report.figures)
    assert (settings.artifact_root / policy.path / "probe.json").is_file()


@pytest.mark.slow
def test_later_rounds_go_on_from_the_reward_model_before_and_may_measure_to_a_start_of_their_own(
    service: Service, filled: Ledger
) -> None:
    service.settings = service.settings.model_copy(update={"reward_training": "incremental", "ppo_start": "start"})
    for count, kind in enumerate(("sft", "ppo", "ppo"), 1):
        answer(filled, 40 + count, "train")
        rounds.request(filled, kind)
        wait_for(lambda: ended(filled, count))  # noqa: B023  # asked at once
        last = rounds.list_rounds(filled)[-1]
        assert (last.state, last.error) == ("done", "")
        if count == 1:
            promotion.promote(filled, "candidate", "test")
    first, second = policies.list_reward_models(filled)
    assert (first.metrics["training"], second.metrics["training"]) == ("full", "incremental")
    assert second.metrics["init_reward"] == first.id
    _, one, two = rounds.list_rounds(filled)
    assert one.seconds["start"] > 0
    work_root = service.settings.work_root
    used = json.loads((work_root / two.id / "ppo" / "settings.json").read_text())["settings"]
    assert Path(used["reference"]) == work_root / two.id / "start"
    assert Path(used["policy"]) == work_root / two.id / "start", "live is the SFT policy"
    assert policies.get(filled, two.version).metrics["measured_to"] == "start"
    assert list((work_root / two.id / "ppo" / "tensorboard").iterdir())
    assert not (service.settings.artifact_root / "policies" / two.version / "tensorboard").exists()


def start(settings: TrainerSettings, log: Path) -> "subprocess.Popen[bytes]":
    """Start a real service; its words go to ``log``."""
    environment = {
        **os.environ,
        **{f"WHETSTONE_{name.upper()}": _as_text(value) for name, value in settings.model_dump(mode="json").items()},
    }
    with log.open("ab") as file:
        return subprocess.Popen([sys.executable, "-m", "trainer", "serve"], env=environment, stdout=file, stderr=file)


@pytest.mark.slow
def test_a_killed_service_goes_on_with_its_round_and_registers_once(
    filled: Ledger, settings: TrainerSettings, tmp_path: Path
) -> None:
    log = tmp_path / "service.log"
    rounds.request(filled, "sft")
    process = start(settings, log)
    wait_for(lambda: any(each.stage == "evaluate" for each in rounds.list_rounds(filled)), 120)
    process.kill()
    process.wait()
    assert rounds.list_rounds(filled)[0].state == "running"
    filled.redis.delete(keys.ROUND_LOCK)  # as after its TTL
    process = start(settings, log)
    try:
        wait_for(lambda: ended(filled, 1), 120)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    only = rounds.list_rounds(filled)
    assert [(each.state, each.error) for each in only] == [("done", "")]
    assert [each.version for each in policies.list_policies(filled)] == ["policy-0000", "policy-0001"]


@pytest.mark.slow
def test_a_service_that_stood_still_past_its_lease_loses_the_round_and_writes_nothing_more(
    filled: Ledger, settings: TrainerSettings, tmp_path: Path
) -> None:
    short = settings.model_copy(update={"round_lease_s": 2})
    first_log, second_log = tmp_path / "first.log", tmp_path / "second.log"
    rounds.request(filled, "sft")
    first = start(short, first_log)
    processes = [first]
    try:
        wait_for(lambda: any(each.stage == "sft" for each in rounds.list_rounds(filled)), 120)
        first.send_signal(signal.SIGSTOP)
        processes.append(start(short, second_log))
        wait_for(lambda: ended(filled, 1), 200)
        (done,) = rounds.list_rounds(filled)
        assert (done.state, done.error, done.version) == ("done", "", "policy-0001")
        recorded = (keys.ROUNDS, keys.SNAPSHOTS, keys.POLICIES, keys.REPORTS, keys.ALIASES)
        before = {key: filled.redis.hgetall(key) for key in recorded}
        counter = filled.redis.get(keys.POLICY_COUNTER)
        first.send_signal(signal.SIGCONT)
        wait_for(lambda: "round lost" in first_log.read_text() or "round interrupted" in first_log.read_text(), 30)
        assert {key: filled.redis.hgetall(key) for key in recorded} == before
        assert (filled.redis.get(keys.POLICY_COUNTER), filled.redis.get(keys.ROUND_FENCE)) == (counter, "2")
        assert "superseded" in first_log.read_text() or "another trainer took over" in first_log.read_text()
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        assert [process.wait(30) for process in processes] == [0] * len(processes)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def test_a_round_without_what_it_needs_fails_with_one_clear_line(ledger: Ledger, settings: TrainerSettings) -> None:
    service = Service(settings, ledger)
    rounds.request(ledger, "sft")
    service.once()
    only = rounds.list_rounds(ledger)[0]
    assert only.state == "failed"
    assert only.reason == "an operator asked for it"
    assert "0 demonstrations, at least 4 are needed" in only.error
    assert rounds.requested(ledger) == ""


def label(ledger: Ledger, number: int) -> None:
    comparison = make_comparison(id=f"cmp_{number}", messages=make_messages(f"{number}?"))
    ledger.redis.xadd(keys.LABELS, {"record": encode(make_label(comparison))})


def test_the_figures_of_the_rules_are_the_ledgers(ledger: Ledger, settings: TrainerSettings) -> None:
    service = Service(settings, ledger)
    assert (service.situation().new_labels, service.situation().has_sft) == (0, False)
    policies.register(ledger, make_policy("policy-0001", kind="sft"))
    for number in range(3):
        label(ledger, number)
    ledger.redis.xadd(keys.DEMONSTRATIONS, {"record": encode(make_demonstration(make_prompt()))})
    found = service.situation()
    assert (found.has_sft, found.new_labels, found.demonstrations, found.new_demonstrations) == (True, 3, 1, 1)
    made = snapshots.build(ledger, settings.artifact_root)
    assert service.situation().new_labels == 3, "an operator's snapshot trains nothing"
    used = {"snapshot_id": made.id, "created_at": made.created_at}
    rounds.save(ledger, make_round(state="failed", **used))
    assert service.situation().new_labels == 3, "a failed round is tried again with what it had"
    rounds.save(ledger, make_round(state="done", **used))
    label(ledger, 7)
    assert (service.situation().new_labels, service.situation().new_demonstrations) == (1, 1)
    rounds.save(ledger, make_round(state="done", kind="sft", **used))
    assert service.situation().new_demonstrations == 0
    assert len(service.situation().ended) == 3


def test_what_the_next_round_waits_for_is_told_and_a_failed_one_is_not_tried_again_at_once(
    ledger: Ledger, settings: TrainerSettings
) -> None:
    service = Service(settings.model_copy(update={"min_new_labels": 2}), ledger)
    policies.register(ledger, make_policy("policy-0001", kind="sft"))
    label(ledger, 1)
    service.once()
    said = rounds.outlook(ledger)
    assert said is not None
    assert (said.waits_for, said.new_labels) == (["ppo: 1 of 2 new labels"], 1)
    label(ledger, 2)
    for _ in range(3):
        service.once()
    only = rounds.list_rounds(ledger)
    assert [(each.state, each.reason) for each in only] == [("failed", "2 new labels (at least 2)")]
    said = rounds.outlook(ledger)
    assert said is not None
    assert said.waits_for[0] == "ppo is due: 2 new labels (at least 2); held up by"
    assert said.waits_for[1].startswith("the pause after a failed round: ")
