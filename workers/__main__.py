"""Start a worker or the beat: ``python -m workers worker`` and ``python -m workers beat``."""

import argparse
import gc
import os
import socket
import sys

from feedback import log
from feedback.client import Ledger
from feedback.errors import ConfigError, WhetstoneError
from workers import metrics
from workers.schedule import QUEUES, SAMPLING
from workers.settings import WorkerSettings


def main(arguments: list[str] | None = None) -> int:
    """Run the process that the arguments name and return its exit status; a wrong setting is one line and 1."""
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    worker = kinds.add_parser("worker", help="curate, sample, sweep and archive")
    worker.add_argument(
        "--queues",
        default=",".join(QUEUES),
        help="queues to serve, separated by commas (default: %(default)s)",
    )
    kinds.add_parser("beat", help="send the tasks of the timetable; run exactly one")
    chosen = parser.parse_args(arguments)
    try:
        settings = WorkerSettings.load()
        log.setup(chosen.kind, settings.log_level)
        Ledger.connect(settings)
        if chosen.kind == "beat":
            return start_beat(settings)
        return start_worker(settings, check_queues(chosen.queues))
    except WhetstoneError as error:
        print(f"workers: {error}", file=sys.stderr)
        return 1


def check_queues(names: str) -> str:
    """Return the names.

    Raises:
        ConfigError: one of them is no queue.
    """
    for name in names.split(","):
        if name not in QUEUES:
            raise ConfigError(f"queue {name!r} is unknown; choose from {', '.join(QUEUES)}")
    return names


def start_worker(settings: WorkerSettings, queues: str) -> int:
    """Run Celery's worker until it is told to stop."""
    if SAMPLING in queues.split(",") and not settings.sampler_key:
        raise ConfigError(
            "WHETSTONE_SAMPLER_KEY is empty; make one with `whetstone keys create client sampler --no-consent`"
        )
    metrics.prepare()
    gc.disable()  # while modules load: nothing of them is garbage, and looking for it took a sixth of the start
    from workers.app import make_app

    app = make_app(settings)
    metrics.watch()
    if settings.workers_metrics_port:
        metrics.serve(settings.workers_metrics_port)
    worker = app.Worker(  # not by its command line, which takes a fifth of the start to load
        hostname=f"worker-{os.getpid()}@{socket.gethostname()}",
        queues=queues,
        loglevel=celery_level(settings),
        without_gossip=True,
        without_mingle=True,
    )
    gc.freeze()  # shared with the pool's processes, and never looked through again
    gc.enable()
    worker.start()
    return int(worker.exitcode or 0)


def start_beat(settings: WorkerSettings) -> int:
    """Run Celery's beat until it is told to stop; its timetable is in memory, so a restart starts afresh."""
    from workers.app import make_app

    app = make_app(settings)
    app.start(["beat", "--loglevel", celery_level(settings), "--scheduler", "celery.beat:Scheduler", "--pidfile", ""])
    return 0


def celery_level(settings: WorkerSettings) -> str:
    """Return the level of Celery's own lines; at ``info`` it would write two for each task, several times a second."""
    return "warning" if settings.log_level == "info" else settings.log_level


if __name__ == "__main__":
    sys.exit(main())
