"""The worker's figures: tasks by outcome, seconds they took, completions sampled.

Pool processes write their values to files that the parent process reads when it is asked, so one port answers for all.
`prepare` must run before `feedback.metrics` is imported: the client library chooses its storage then.
"""

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Protocol

FAMILIES = (
    "whetstone_tasks",
    "whetstone_task_seconds",
    "whetstone_completions_sampled",
    "whetstone_completions_unused",
    "whetstone_sampling_fallbacks",
)
"""What workers set; all other metrics belong to other processes."""


class _Family(Protocol):
    name: str


def prepare() -> None:
    """Give the pool's processes a fresh directory for their values."""
    directory = tempfile.mkdtemp(prefix="whetstone-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    atexit.register(_remove, directory, os.getpid())


def _remove(directory: str, owner: int) -> None:
    """Remove the directory when the process that made it ends, not when a process forked from it does."""
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)


class _OwnFamilies:
    """A collector of what the pool's processes wrote, without the families that workers do not set."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector

        self._files: Any = MultiProcessCollector(CollectorRegistry())  # type: ignore[no-untyped-call]

    def collect(self) -> Iterator[_Family]:
        for family in self._files.collect():
            if family.name in FAMILIES:
                yield family


def serve(port: int) -> None:
    """Answer ``GET /metrics`` on ``port`` from a thread of this process.

    Raises:
        ConfigError: the port is taken.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    from feedback.errors import ConfigError

    registry = CollectorRegistry()
    registry.register(_OwnFamilies())  # type: ignore[arg-type]  # any object with collect() will do
    try:
        start_http_server(port, registry=registry)
    except OSError as error:
        raise ConfigError(f"WHETSTONE_WORKERS_METRICS_PORT={port} cannot be used: {error}") from error


def watch() -> None:
    """Count and time every task that runs in this process and the processes forked from it."""
    from celery import signals

    from feedback.metrics import task_seconds, tasks_total

    started: dict[str, float] = {}

    def begin(task_id: str, **_: object) -> None:
        started[task_id] = time.monotonic()

    def end(task_id: str, task: Any, state: str | None, **_: object) -> None:
        took_s = time.monotonic() - started.pop(task_id, time.monotonic())
        task_seconds.labels(task=task.name).observe(took_s)
        tasks_total.labels(task=task.name, outcome=(state or "unknown").lower()).inc()

    signals.task_prerun.connect(begin, weak=False)
    signals.task_postrun.connect(end, weak=False)
