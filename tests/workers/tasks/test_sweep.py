from collections.abc import Callable

from feedback import comparisons, contests, demonstrations, keys, leases, prompts
from feedback.client import Ledger, encode
from feedback.records import Contest, Interaction
from tests.builders import NOON, make_prompt
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
    assert not any(sweep(ledger, settings).values())
    assert prompts.count(ledger) == 1


def test_sweep_plans_contests_and_closes_them_once_nothing_more_can_come(
    ledger: Ledger, settings: WorkerSettings
) -> None:
    prompt = make_prompt(split="test")
    prompts.keep(ledger, prompt, "the words of it", 100)
    contest = Contest(
        id="cts_1", created_at=NOON, a="policy-0000", b="policy-0001", prompts=[prompt.id], overlap=1, actor="olga"
    )
    ledger.redis.hset(keys.CONTESTS, contest.id, encode(contest))
    assert sweep(ledger, settings)["contest_comparisons_planned"] == 1
    assert contests.get(ledger, contest.id).state == "running"
    assert comparisons.bury(ledger, contests.comparison_id(contest, prompt.id), "failed too often")
    assert not any(sweep(ledger, settings).values())
    assert contests.get(ledger, contest.id).state == "done"
