"""Whole turns of the worker side: real Redis twice, real Celery worker and beat, real HTTP."""

import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from feedback import comparisons, keys, prompts
from feedback.client import Ledger
from feedback.records import Interaction
from workers.app import HARD_LIMIT_S, SOFT_LIMIT_S, VISIBILITY_S, make_app, options
from workers.settings import WorkerSettings
from workers.tasks.sample import AT_FIRST

Ask = Callable[..., Interaction]
Eventually = Callable[..., None]
FAST = {"curate_every_s": 0.2, "sweep_every_s": 0.5, "archive_every_s": 1, "claim_s": 1, "test_percent": 0}


class Stage:
    """The processes of one test and what they share."""

    def __init__(self, workers: Any, broker: Any, metrics_port: int) -> None:
        self.workers = workers
        self.broker = broker
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        self.worker = workers.start("worker")
        self.beat = workers.start("beat")

    def restart_worker(self) -> None:
        self.worker = self.workers.start("worker")

    def metrics(self) -> str:
        """The worker's metrics page; empty while there is none."""
        with suppress(urllib.error.URLError), urllib.request.urlopen(self.metrics_url, timeout=5) as answer:
            return str(answer.read().decode())
        return ""


@pytest.fixture(scope="module")
def stage(
    redis_server: Any,
    broker: Any,
    completions_api: Any,
    make_workers: Any,
    eventually: Eventually,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    directory = tmp_path_factory.mktemp("workers")
    workers = make_workers(
        directory,
        ledger_url=redis_server.url,
        broker_url=broker.url,
        serve_url=completions_api.url,
        sampler_key="ws-client-sampler",
        artifact_root=directory / "artifacts",
        workers_metrics_port=port,
        worker_concurrency=2,
        **FAST,
    )
    started = Stage(workers, broker, port)
    eventually(lambda: 'task="sweep"' in started.metrics(), within_s=60)  # beat asks and the worker answers
    yield started
    workers.kill_all()


def complete(ledger: Ledger, count: int) -> Callable[[], bool]:
    def reached() -> bool:
        opened = comparisons.open_count(ledger) + comparisons.open_count(ledger, "agreement")
        return opened >= count and not comparisons.being_sampled(ledger)

    return reached


def check_exactly_k(ledger: Ledger, count: int) -> None:
    """Every prompt has one comparison, open once, with exactly K different completions."""
    pool = prompts.all_prompts(ledger)
    found = comparisons.get_many(ledger, [f"cmp_{prompt.id.removeprefix('pro_')}" for prompt in pool])
    assert len(pool) == len(found) == count
    for comparison in found:
        assert comparison is not None
        assert len({completion.text for completion in comparison.completions}) == comparison.k == 4
    assert comparisons.open_count(ledger) + comparisons.open_count(ledger, "agreement") == count
    assert ledger.redis.hlen(keys.SAMPLING_ATTEMPTS) == 0


def test_from_interaction_to_k_completions_in_the_queue(
    stage: Stage, ledger: Ledger, api: Any, ask: Ask, eventually: Eventually
) -> None:
    for number in range(20):
        ask(f"What is {number} times {number}?", customer=f"customer {number % 4}")
    ask("What is 3 times 3?", customer="somebody else")
    ask("a private matter", consent=False)
    eventually(complete(ledger, 20), within_s=40)
    check_exactly_k(ledger, 20)
    assert prompts.dropped(ledger) == {"duplicate": 1, "no consent": 1}
    archived = stage.workers.directory / "artifacts/archive/interactions"
    eventually(lambda: list(archived.glob("*.jsonl.gz")))


def test_the_worker_answers_for_its_pool_on_one_metrics_port(stage: Stage, eventually: Eventually) -> None:
    eventually(lambda: 'whetstone_tasks_total{outcome="success",task="curate"}' in stage.metrics())
    text = stage.metrics()
    assert 'whetstone_completions_sampled_total{version="policy-0003"}' in text
    assert 'whetstone_task_seconds_count{task="sample"}' in text
    assert "whetstone_ledger_up" not in text


def test_a_worker_killed_while_it_samples_costs_no_comparison(
    stage: Stage, ledger: Ledger, api: Any, ask: Ask, eventually: Eventually
) -> None:
    api.delay_s = 3.0
    for number in range(10):
        ask(f"Name {number} rivers.", customer=f"customer {number % 4}")
    eventually(lambda: api.in_flight >= AT_FIRST and comparisons.being_sampled(ledger) == 10)
    stage.workers.kill(stage.worker)
    api.delay_s = 0.0
    stage.restart_worker()
    eventually(complete(ledger, 10), within_s=40)
    check_exactly_k(ledger, 10)


def test_a_worker_that_was_frozen_wakes_up_and_changes_nothing(
    stage: Stage, ledger: Ledger, api: Any, ask: Ask, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.delay_s = 2.0
    for number in range(5):
        ask(f"Name {number} mountains.", customer=f"customer {number}")
    eventually(lambda: api.in_flight >= AT_FIRST)
    os.killpg(stage.worker.pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setitem(stage.workers.environment, "WHETSTONE_WORKERS_METRICS_PORT", "0")  # the first has the port
        other = stage.workers.start("worker")
    api.delay_s = 0.0
    eventually(complete(ledger, 5), within_s=40)
    before = ledger.redis.mget(sorted(ledger.redis.keys(keys.comparison("*"))))
    os.killpg(stage.worker.pid, signal.SIGCONT)
    eventually(lambda: "claim lost" in (stage.workers.directory / "worker.log").read_text())
    check_exactly_k(ledger, 5)
    assert ledger.redis.mget(sorted(ledger.redis.keys(keys.comparison("*")))) == before
    assert ledger.redis.exists(keys.SAMPLING_CLAIMS) == 0
    stage.workers.kill(other)


def test_messages_that_come_twenty_times_change_nothing(
    stage: Stage, ledger: Ledger, api: Any, ask: Ask, eventually: Eventually
) -> None:
    api.delay_s = 0.1
    sender = make_app(WorkerSettings(ledger_url=ledger.url, broker_url=stage.broker.url))
    for number in range(8):
        ask(f"Name {number} lakes.", customer=f"customer {number}")
    for name in ("curate", "sample", "sweep") * 20:
        sender.send_task(name)
    eventually(complete(ledger, 8), within_s=40)
    check_exactly_k(ledger, 8)
    assert ledger.redis.get(keys.SAMPLING_TOKEN) == "8", "each was claimed once"


def test_messages_lost_by_the_broker_are_made_up_for(
    stage: Stage, ledger: Ledger, api: Any, ask: Ask, eventually: Eventually
) -> None:
    messages = redis.Redis(port=stage.broker.port)
    api.status, api.retry_after = 503, "0.5"
    for number in range(5):
        ask(f"Describe a house with {number} rooms.", customer=f"customer {number}")
    eventually(lambda: comparisons.being_sampled(ledger) == 5)
    messages.flushall()
    api.status = 200
    eventually(complete(ledger, 5), within_s=20)
    check_exactly_k(ledger, 5)


def test_an_api_that_is_down_for_a_while_delays_and_loses_nothing(
    stage: Stage, ledger: Ledger, api: Any, ask: Ask, eventually: Eventually
) -> None:
    api.status = 503
    for number in range(6):
        ask(f"Explain the number {number}.", customer=f"customer {number}")
    eventually(lambda: len(api.requests) > 12)
    assert comparisons.open_count(ledger) == 0
    api.status = 200
    eventually(complete(ledger, 6))
    check_exactly_k(ledger, 6)
    assert ledger.redis.xlen(keys.DEAD) == 0


@pytest.mark.parametrize("down_s", [0.1, 1.5])
def test_a_broker_killed_and_started_again_delays_and_loses_nothing(
    stage: Stage, ledger: Ledger, api: Any, ask: Ask, eventually: Eventually, down_s: float
) -> None:
    ask("Is anybody there?")
    eventually(complete(ledger, 1), within_s=40)
    stage.broker.kill()
    for number in range(3):
        ask(f"Count to {number}.", customer=f"customer {number}")
    time.sleep(down_s)
    stage.broker.start()
    eventually(complete(ledger, 4), within_s=40)
    check_exactly_k(ledger, 4)


def test_sigterm_ends_worker_and_beat_in_order(stage: Stage, eventually: Eventually) -> None:
    for process in (stage.worker, stage.beat):
        process.send_signal(signal.SIGTERM)
    for process in (stage.worker, stage.beat):
        assert process.wait(timeout=20) == 0


@pytest.mark.parametrize(
    ("changes", "arguments", "sentence"),
    [
        ({"claim_s": 0}, ["worker"], "WHETSTONE_CLAIM_S='0'"),
        ({"sampler_key": ""}, ["worker"], "WHETSTONE_SAMPLER_KEY is empty"),
        ({"ledger_url": "redis://127.0.0.1:1/0"}, ["beat"], "no Redis answers"),
        ({}, ["worker", "--queues", "upkeep,labour"], "queue 'labour' is unknown"),
    ],
)
def test_a_wrong_setting_is_one_line_and_a_status(
    redis_server: Any,
    make_workers: Any,
    tmp_path: Path,
    changes: dict[str, object],
    arguments: list[str],
    sentence: str,
) -> None:
    values = {"ledger_url": redis_server.url, "sampler_key": "ws-client-sampler"} | changes
    workers = make_workers(tmp_path, **values)
    process = workers.start(*arguments)
    assert process.wait(timeout=30) == 1
    [line] = (tmp_path / f"{arguments[0]}.log").read_text().splitlines()
    assert line.startswith("workers: ")
    assert sentence in line


def test_the_options_that_cost_work_when_left_alone_are_pinned() -> None:
    pinned = options(WorkerSettings())
    assert pinned["task_acks_late"] is pinned["task_reject_on_worker_lost"] is True
    assert pinned["worker_prefetch_multiplier"] == 1
    assert pinned["accept_content"] == ["json"]
    timeouts = {
        pinned["visibility_timeout"],
        pinned["broker_transport_options"]["visibility_timeout"],
        pinned["result_backend_transport_options"]["visibility_timeout"],
    }
    assert timeouts == {VISIBILITY_S}
    assert SOFT_LIMIT_S < HARD_LIMIT_S < VISIBILITY_S / 2
    longest = WorkerSettings.model_fields
    assert longest["sampling_run_s"].default + longest["sampling_attempt_s"].default < SOFT_LIMIT_S


def test_a_message_reaches_its_own_queue_and_no_other(broker: Any) -> None:
    messages = redis.Redis(port=broker.port)
    messages.flushall()
    app = make_app(WorkerSettings(broker_url=broker.url))
    app.send_task("sample")
    app.send_task("curate")
    app.send_task("sweep")
    assert (messages.llen("sampling"), messages.llen("upkeep")) == (1, 2)


def test_the_application_has_one_task_for_each_entry_of_the_timetable() -> None:
    app = make_app(WorkerSettings())
    assert {"curate", "sample", "sweep", "audit", "archive"} <= set(app.tasks)
