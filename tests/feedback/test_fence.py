"""The right to run rounds: one holder, a higher number for each next one, and no writes by those before."""

from pathlib import Path

import pytest

from feedback import fence, keys, policies, rounds, snapshots
from feedback.client import Ledger
from feedback.errors import LeaseLost
from tests.builders import make_policy, make_report, make_reward_model, make_round


def expire(ledger: Ledger) -> None:
    ledger.redis.delete(keys.ROUND_LOCK)


def test_the_holder_renews_under_its_number_and_another_one_waits(ledger: Ledger) -> None:
    assert fence.hold(ledger, "a", 60) == 1
    assert fence.hold(ledger, "a", 60, 1) == 1
    assert fence.hold(ledger, "b", 60) == 0
    fence.let_go(ledger, "a")
    assert fence.hold(ledger, "b", 60) == 2
    assert fence.hold(ledger, "a", 60, 1) == 0


def test_a_right_that_ran_out_and_that_nobody_took_keeps_its_number(ledger: Ledger) -> None:
    assert fence.hold(ledger, "a", 60) == 1
    expire(ledger)
    assert fence.hold(ledger, "a", 60, 1) == 1
    expire(ledger)
    assert fence.hold(ledger, "a", 60) == 2, "a process that never held it gets a number of its own"


def test_a_late_holder_that_comes_back_gets_a_new_number(ledger: Ledger) -> None:
    fence.hold(ledger, "a", 60)
    expire(ledger)
    fence.hold(ledger, "b", 60)
    expire(ledger)
    assert fence.hold(ledger, "a", 60, 1) == 3


def test_a_superseded_trainer_can_write_nothing(ledger: Ledger, tmp_path: Path) -> None:
    old = fence.hold(ledger, "a", 60)
    made = make_round()
    rounds.begin(ledger, made, old)
    expire(ledger)
    rounds.save(ledger, made, old)  # nobody took over: it is still the newest
    new = fence.hold(ledger, "b", 60)
    rounds.request(ledger, "ppo")
    before = _state(ledger)
    for write in (
        lambda: rounds.begin(ledger, make_round(), old),
        lambda: rounds.update(ledger, made, old, stage="ppo"),
        lambda: rounds.give_version(ledger, made, old),
        lambda: policies.add_reward_model(ledger, make_reward_model(), old),
        lambda: policies.add_report(ledger, make_report(), old),
        lambda: policies.register(ledger, make_policy(), old),
        lambda: snapshots.build(ledger, tmp_path, id="snp_1", number=old),
        lambda: fence.require(ledger, old),
    ):
        with pytest.raises(LeaseLost, match="trainer number 1 was superseded"):
            write()
    assert _state(ledger) == before
    policies.register(ledger, make_policy(), new)
    assert policies.aliases(ledger)["candidate"] == make_policy().version


def test_changes_are_made_together_and_an_operator_needs_no_number(ledger: Ledger) -> None:
    rounds.request(ledger, "ppo")
    fence.write(ledger, fence.NO_FENCE, (keys.ROUNDS, "rnd_1", "{}"), (keys.ROUND_REQUESTED, "", ""))
    assert _state(ledger) == {keys.ROUNDS: {"rnd_1": "{}"}}


def _state(ledger: Ledger) -> dict[str, object]:
    """Return all hashes and strings of the ledger."""
    kinds = {name: ledger.redis.type(name) for name in ledger.redis.scan_iter()}
    return {
        name: ledger.redis.hgetall(name) if kind == "hash" else ledger.redis.get(name) for name, kind in kinds.items()
    }
