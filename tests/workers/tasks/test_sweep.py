from collections.abc import Callable

from feedback import demonstrations, leases, prompts
from feedback.client import Ledger
from feedback.records import Interaction
from workers.settings import WorkerSettings
from workers.tasks.curate import keep
from workers.tasks.sweep import sweep


def test_sweep_plans_what_a_dead_curator_left_and_returns_overdue_leases(
    ledger: Ledger, settings: WorkerSettings, ask: Callable[..., Interaction]
) -> None:
    keep(ledger, ask("a prompt kept by a curator that died then"), settings.rules)
    assert sweep(ledger, settings)["comparisons_planned"] == 1
    leases.open_item(ledger, "pro_x", demonstrations.QUEUE, slots=1, score=0)
    assert leases.lease(ledger, demonstrations.QUEUE, "ann", lease_s=-1) is not None
    assert sweep(ledger, settings)["leases_expired"] == 1
    assert leases.lease(ledger, demonstrations.QUEUE, "ben") is not None
    assert sweep(ledger, settings) == {"leases_expired": 0, "comparisons_planned": 0, "demonstrations_requested": 0}
    assert prompts.count(ledger) == 1
