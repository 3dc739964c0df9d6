"""The Celery application: pinned options, queues, and the tasks bound to one ledger and one set of settings.

A message is a hint. What is to be done is in the ledger, so a message that Celery on Redis loses or repeats (both were
measured at kills of a whole worker) costs seconds and never a record.
"""

from collections.abc import Callable
from typing import Any

from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from feedback import comparisons, copies, log
from feedback.client import Ledger
from workers.schedule import QUEUE_OF, QUEUES, SAMPLING, UPKEEP, timetable
from workers.settings import WorkerSettings
from workers.tasks.curate import curate
from workers.tasks.sample import sample
from workers.tasks.sweep import sweep

VISIBILITY_S = 300
"""Seconds after which the broker redelivers an unacknowledged message; all apps on a broker must agree on it."""
HARD_LIMIT_S = 120
"""Seconds after which a task's process is killed; below half of `VISIBILITY_S`."""
SOFT_LIMIT_S = 100
CHILD_KIB = 600_000
"""Memory beyond which a pool process is replaced, KiB."""

logger = log.get(__name__)


def make_app(settings: WorkerSettings) -> Celery:
    """Return the application with its tasks: curate, sample, sweep, audit, archive, copy."""
    app = Celery("whetstone", broker=settings.broker_url, set_as_current=False)
    app.conf.update(options(settings))
    ledger = Ledger(settings.ledger_url, settings.ledger_timeout_s)

    def wake() -> None:
        """Send for a sampler if a comparison is due."""
        if comparisons.due(ledger):
            try:
                app.send_task("sample", queue=SAMPLING, expires=settings.sweep_every_s, retry=False)
            except OperationalError as error:
                logger.warning("broker unreachable", error=str(error))

    def run_curate() -> dict[str, int]:
        outcomes = curate(ledger, settings)
        wake()
        if outcomes:
            logger.info("curated", **outcomes)
        return outcomes

    def run_sweep() -> dict[str, int]:
        done = sweep(ledger, settings)
        wake()
        if any(done.values()):
            logger.info("swept", **done)
        return done

    known: dict[str, Any] = {}

    def run_audit() -> dict[str, int]:
        from workers.tasks.audit import audit  # loads the statistics

        done = audit(ledger, settings, known)
        if done:
            logger.info("audited", **done)
        return done

    def run_archive() -> dict[str, int]:
        from workers.tasks.archive import archive  # loads what reads Parquet: a quarter of a worker's start

        return archive(ledger, settings)

    def run_copy() -> dict[str, int]:
        return copies.copy(ledger, settings.artifact_root)

    def run_sample() -> int:
        completed = sample(ledger, settings)
        if completed:
            logger.info("sampled", comparisons=completed)
        return completed

    tasks: dict[str, Callable[[], Any]] = {
        "curate": run_curate,
        "sweep": run_sweep,
        "audit": run_audit,
        "archive": run_archive,
        "copy": run_copy,
        "sample": run_sample,
    }
    for name, function in tasks.items():
        app.task(name=name, shared=False)(function)
    return app


def options(settings: WorkerSettings) -> dict[str, Any]:
    """Return Celery's options; each is pinned because its default lost or doubled work in a measurement or a report."""
    return {
        "beat_schedule": timetable(settings),
        "timezone": "UTC",
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
        "task_default_queue": UPKEEP,
        "task_routes": {name: {"queue": queue} for name, queue in QUEUE_OF.items()},
        "task_create_missing_queues": False,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,  # the ledger counts attempts, so a poisonous item ends in the dead letters
        "task_acks_on_failure_or_timeout": True,
        "task_time_limit": HARD_LIMIT_S,
        "task_soft_time_limit": SOFT_LIMIT_S,
        "worker_prefetch_multiplier": 1,
        "worker_concurrency": settings.worker_concurrency,
        "worker_pool": "prefork",
        "worker_max_tasks_per_child": 5000,
        "worker_max_memory_per_child": CHILD_KIB,
        "worker_soft_shutdown_timeout": 5.0,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_enable_remote_control": False,
        "broker_transport": "workers.broker:Transport",
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "visibility_timeout": VISIBILITY_S,
        "result_backend_transport_options": {"visibility_timeout": VISIBILITY_S},
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_S,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "retry_on_timeout": True,
            "max_connections": 32,
        },
    }
