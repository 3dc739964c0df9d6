"""Sweep: repair what crashes and lost messages left behind.

Compares what is with what should be, in the ledger alone; nothing here depends on a message having arrived.
"""

from feedback import leases
from feedback.client import Ledger
from workers import planning
from workers.settings import WorkerSettings


def sweep(ledger: Ledger, settings: WorkerSettings) -> dict[str, int]:
    """End overdue leases and plan items for waiting prompts; return what was done, counted."""
    return {
        "leases_expired": leases.expire(ledger),
        "comparisons_planned": planning.plan_comparisons(ledger, settings),
        "contest_comparisons_planned": planning.plan_contests(ledger),
        "demonstrations_requested": planning.request_demonstrations(ledger, settings),
    }
