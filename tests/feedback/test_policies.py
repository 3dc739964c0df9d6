"""The registry: versions never reused, the newest registered one is the candidate."""

import threading

import pytest

from feedback import policies
from feedback.client import Ledger
from feedback.errors import Conflict, NotFound
from tests.builders import make_policy, make_report, make_reward_model


def test_versions_begin_at_zero_and_are_never_given_out_twice(ledger: Ledger) -> None:
    assert policies.next_version(ledger) == "policy-0000"
    given: list[str] = []
    threads = [threading.Thread(target=lambda: given.append(policies.next_version(ledger))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == [f"policy-{number:04d}" for number in range(1, 21)]


def test_a_registered_policy_is_the_candidate_and_not_live(ledger: Ledger) -> None:
    made = make_policy("policy-0003")
    policies.register(ledger, made)
    assert policies.get(ledger, "policy-0003") == policies.get(ledger, "candidate") == made
    assert policies.aliases(ledger) == {"candidate": "policy-0003"}


def test_a_taken_version_is_refused_and_nothing_changes(ledger: Ledger) -> None:
    first = make_policy("policy-0001")
    policies.register(ledger, first)
    policies.register(ledger, make_policy("policy-0002"))
    with pytest.raises(Conflict, match="policy-0001 is taken"):
        policies.register(ledger, make_policy("policy-0001", sha256="f" * 64))
    assert policies.get(ledger, "policy-0001") == first
    assert policies.aliases(ledger)["candidate"] == "policy-0002"


def test_registering_the_same_record_again_is_no_conflict(ledger: Ledger) -> None:
    policies.register(ledger, make_policy())
    policies.register(ledger, make_policy())
    assert len(policies.list_policies(ledger)) == 1


@pytest.mark.parametrize("name", ["live", "previous", "candidate", "policy-0042", "nonsense", ""])
def test_an_unknown_name_is_not_found_with_the_command_that_lists_them(ledger: Ledger, name: str) -> None:
    with pytest.raises(NotFound, match="whetstone policies"):
        policies.get(ledger, name)


def test_policies_are_listed_oldest_first(ledger: Ledger) -> None:
    for number in (2, 0, 1):
        policies.register(ledger, make_policy(f"policy-{number:04d}"))
    assert [each.version for each in policies.list_policies(ledger)] == ["policy-0000", "policy-0001", "policy-0002"]


def test_reward_models_are_stored_and_found(ledger: Ledger) -> None:
    made = make_reward_model(metrics={"accuracy": 0.7})
    policies.add_reward_model(ledger, made)
    assert policies.reward_model(ledger, made.id) == made
    assert policies.list_reward_models(ledger) == [made]
    with pytest.raises(NotFound, match="rm_none"):
        policies.reward_model(ledger, "rm_none")


def test_the_newest_report_of_a_version_counts(ledger: Ledger) -> None:
    assert policies.report(ledger, "policy-0001") is None
    policies.add_report(ledger, make_report(kl_nats=9.0))
    newest = make_report(kl_nats=2.0)
    policies.add_report(ledger, newest)
    assert policies.report(ledger, "policy-0001") == newest
