"""The timetable: which task runs how often, from which queue.

A task that could not start before `LATE` intervals are over is dropped: the next one does the same work.
"""

from typing import Any

from workers.settings import WorkerSettings

UPKEEP = "upkeep"
"""Short tasks on the ledger alone."""
SAMPLING = "sampling"
"""Long tasks that wait for the API."""
QUEUES = (UPKEEP, SAMPLING)
QUEUE_OF = {"curate": UPKEEP, "sweep": UPKEEP, "audit": UPKEEP, "archive": UPKEEP, "copy": UPKEEP, "sample": SAMPLING}
LATE = 5


def timetable(settings: WorkerSettings) -> dict[str, dict[str, Any]]:
    """Return beat's table: name -> task, seconds between two runs, queue, seconds until a message expires.

    `curate` and `sweep` send ``sample`` themselves when a comparison is due.
    """
    intervals_s = {
        "curate": settings.curate_every_s,
        "sweep": settings.sweep_every_s,
        "audit": settings.audit_every_s,
        "archive": settings.archive_every_s,
        "copy": settings.copy_every_s,
    }
    return {
        name: {
            "task": name,
            "schedule": interval_s,
            "options": {"queue": QUEUE_OF[name], "expires": max(LATE * interval_s, 5.0)},
        }
        for name, interval_s in intervals_s.items()
    }
