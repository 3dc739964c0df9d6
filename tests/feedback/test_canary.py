"""The canary: one at a time, never the live policy, gone when live moves, and all of it in the audit."""

import threading

import pytest

from feedback import canary, keys, policies, promotion
from feedback.client import Ledger
from feedback.errors import Conflict, InvalidRecord, NotFound
from tests.builders import make_policy

pytestmark = pytest.mark.redis


@pytest.fixture
def versions(ledger: Ledger) -> list[str]:
    """Three policies; the first is live."""
    found = [f"policy-{number:04d}" for number in range(3)]
    for version in found:
        policies.register(ledger, make_policy(version))
    promotion.promote(ledger, found[0], "olga")
    return found


def audit(ledger: Ledger) -> list[tuple[str, str, str, str]]:
    """Return (actor, action, before, after) of everything said about canaries."""
    entries = [entry for entry in promotion.audit(ledger) if entry.subject == "canary"]
    return [(entry.actor, entry.action, entry.before, entry.after) for entry in entries]


def test_a_canary_begins_grows_and_ends_in_the_audit(ledger: Ledger, versions: list[str]) -> None:
    assert canary.running(ledger) is None
    canary.begin(ledger, versions[1], 5, "olga", "let us see")
    grown = canary.begin(ledger, versions[1], 25, "omar")
    assert canary.running(ledger) == grown
    assert (grown.version, grown.share, grown.actor) == (versions[1], 25, "omar")
    assert canary.end(ledger, "olga", "seen enough") == grown
    assert canary.running(ledger) is None
    assert audit(ledger) == [
        ("olga", "begin canary", "", "policy-0001 at 5 %"),
        ("omar", "begin canary", "policy-0001 at 5 %", "policy-0001 at 25 %"),
        ("olga", "end canary", "policy-0001 at 25 %", ""),
    ]


def test_an_alias_names_the_version_behind_it(ledger: Ledger, versions: list[str]) -> None:
    assert canary.begin(ledger, "candidate", 0, "olga").version == versions[2]


@pytest.mark.parametrize("share", [-1, 101, 10**9])
def test_a_share_out_of_bounds_changes_nothing(ledger: Ledger, versions: list[str], share: int) -> None:
    with pytest.raises(InvalidRecord, match="share"):
        canary.begin(ledger, versions[1], share, "olga")
    assert canary.running(ledger) is None
    assert audit(ledger) == []


def test_the_live_policy_an_unknown_one_and_a_second_one_are_refused(ledger: Ledger, versions: list[str]) -> None:
    with pytest.raises(Conflict, match="is live"):
        canary.begin(ledger, "live", 10, "olga")
    with pytest.raises(NotFound):
        canary.begin(ledger, "policy-0099", 10, "olga")
    canary.begin(ledger, versions[1], 10, "olga")
    with pytest.raises(Conflict, match="policy-0001 is the canary"):
        canary.begin(ledger, versions[2], 10, "olga")
    assert len(audit(ledger)) == 1


@pytest.mark.parametrize("move", ["promote canary", "promote another", "roll back"])
def test_every_move_of_live_ends_the_canary_and_says_so(ledger: Ledger, versions: list[str], move: str) -> None:
    promotion.promote(ledger, versions[1], "olga")
    promotion.promote(ledger, versions[0], "olga")
    canary.begin(ledger, versions[1], 10, "olga")
    if move == "roll back":
        promotion.roll_back(ledger, "omar")
    else:
        promotion.promote(ledger, versions[1 if move == "promote canary" else 2], "omar")
    assert canary.running(ledger) is None
    assert audit(ledger)[-1] == ("omar", "end canary", "policy-0001 at 10 %", "")


def test_a_refused_move_leaves_the_canary(ledger: Ledger, versions: list[str]) -> None:
    canary.begin(ledger, versions[1], 10, "olga")
    with pytest.raises(Conflict):
        promotion.promote(ledger, versions[0], "olga")
    assert canary.running(ledger) is not None


def test_ending_means_the_one_that_was_judged(ledger: Ledger, versions: list[str]) -> None:
    judged = canary.begin(ledger, versions[1], 10, "olga")
    later = canary.begin(ledger, versions[1], 20, "olga")
    with pytest.raises(Conflict, match="another canary"):
        canary.end(ledger, "guard", only=judged)
    assert canary.end(ledger, "guard", only=later) == later
    with pytest.raises(Conflict, match="no canary"):
        canary.end(ledger, "guard")


def test_of_many_that_begin_at_once_one_version_wins(ledger: Ledger, versions: list[str]) -> None:
    start, won = threading.Barrier(16), []

    def begin(number: int) -> None:
        start.wait()
        try:
            won.append(canary.begin(ledger, versions[1 + number % 2], number, f"actor-{number}").version)
        except Conflict:
            return

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 8
    assert len(set(won)) == 1
    assert len(audit(ledger)) == 8
    assert ledger.redis.exists(keys.CANARY) == 1
