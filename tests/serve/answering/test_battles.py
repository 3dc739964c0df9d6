"""Battles: drawn and shuffled by the server, known to their customer only, on every replica, for a day."""

import random

import pytest

from feedback import keys, votes
from feedback.client import Ledger
from feedback.errors import Conflict, RateLimited
from serve.answering import battles
from serve.answering.battles import Battles, sides

pytestmark = pytest.mark.redis
LOADED = ["live", "previous", "policy-0001", "policy-0002", "policy-0003"]


def make(ledger: Ledger, loaded: list[str] | None = None, per_day: int = 100, seed: int = 0) -> Battles:
    return Battles(ledger, lambda: LOADED if loaded is None else loaded, per_day, random.Random(seed))


def test_two_different_versions_are_drawn_and_shuffled(ledger: Ledger) -> None:
    found = make(ledger)
    drawn = {tuple(found.begin("ada")[0].versions) for _ in range(60)}
    versions = LOADED[2:]
    assert drawn == {(a, b) for a in versions for b in versions if a != b}


@pytest.mark.parametrize("loaded", [[], ["live", "policy-0001"]])
def test_a_battle_needs_two_loaded_versions(ledger: Ledger, loaded: list[str]) -> None:
    with pytest.raises(Conflict, match="two loaded policies"):
        make(ledger, loaded).begin("ada")
    assert ledger.redis.keys() == []


def test_sides_are_known_to_their_customer_only(ledger: Ledger) -> None:
    found = make(ledger)
    battle, _ = found.begin("ada")
    assert [found.side(name, "ada") for name in sides(battle)] == battle.versions
    assert [found.side(name, "bob") for name in sides(battle)] == [None, None]


def test_sides_are_known_on_every_replica(ledger: Ledger) -> None:
    battle, _ = make(ledger).begin("ada")
    other = make(ledger)
    assert [other.side(name, "ada") for name in sides(battle)] == battle.versions


@pytest.mark.parametrize("name", ["live", "battle-1-a", "battle-" + "0" * 32 + "-c", "battle-" + "0" * 32 + "-a\n"])
def test_other_names_are_no_sides(ledger: Ledger, name: str) -> None:
    assert make(ledger).side(name, "ada") is None


def test_names_tell_nothing_of_the_versions(ledger: Ledger) -> None:
    battle, _ = make(ledger).begin("ada")
    assert not any(version in name for name in sides(battle) for version in battle.versions)


def test_a_customer_begins_so_many_a_day(ledger: Ledger) -> None:
    found = make(ledger, per_day=2)
    assert [found.begin("ada")[1] for _ in range(2)] == [1, 0]
    with pytest.raises(RateLimited) as refusal:
        found.begin("ada")
    assert 0 < refusal.value.retry_after_s <= 24 * 3600
    assert found.begin("bob")[1] == 1


def test_a_battle_is_over_after_a_day(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    found = make(ledger)
    battle, _ = found.begin("ada")
    later_s = battle.created_at.timestamp() + votes.BATTLE_S + 1
    monkeypatch.setattr(battles.time, "time", lambda: later_s)
    assert found.side(sides(battle)[0], "ada") is None
    assert battles.over(battle.id)


def test_while_the_ledger_is_down_own_battles_go_on_and_others_are_unknown(ledger: Ledger) -> None:
    found = make(ledger)
    battle, _ = found.begin("ada")
    down = make(Ledger("redis://127.0.0.1:1/0", 0.2))
    down._remember(battle)
    assert down.side(sides(battle)[0], "ada") == battle.versions[0]
    assert down.side("battle-" + "0" * 32 + "-a", "ada") is None
    assert ledger.redis.exists(keys.battle(battle.id))


def test_a_side_whose_version_was_unloaded_is_unknown_and_so_not_named(ledger: Ledger) -> None:
    loaded = [*LOADED]
    found = make(ledger, loaded)
    battle, _ = found.begin("ada")
    loaded.remove(battle.versions[0])
    assert [found.side(name, "ada") for name in sides(battle)] == [None, battle.versions[1]]
