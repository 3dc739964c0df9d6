"""Shares: copies with an end, listed for and taken back by their customer only."""

from datetime import timedelta

import pytest

from feedback import keys, shares
from feedback.client import Ledger
from feedback.errors import NotFound
from tests.builders import make_interaction

pytestmark = pytest.mark.redis


def test_a_share_is_a_copy_that_ends(ledger: Ledger) -> None:
    interaction = make_interaction()
    share = shares.create(ledger, interaction, days=2)
    assert shares.get(ledger, share.id) == share
    assert (share.messages, share.completion) == (interaction.messages, interaction.completion)
    assert share.expires_at - share.created_at == timedelta(days=2)
    assert 0 < ledger.redis.ttl(keys.share(share.id)) <= 2 * shares.DAY_S
    ledger.redis.delete(keys.share(share.id))
    with pytest.raises(NotFound):
        shares.get(ledger, share.id)
    assert shares.of_customer(ledger, "acme") == []


def test_ids_are_secrets_of_their_own(ledger: Ledger) -> None:
    made = {shares.create(ledger, make_interaction(), days=1).id for _ in range(50)}
    assert len(made) == 50
    assert all(len(id) == 22 for id in made)


def test_the_index_lives_as_long_as_the_longest_share(ledger: Ledger) -> None:
    for days in (1, 9, 2):
        shares.create(ledger, make_interaction(), days=days)
    assert 8 * shares.DAY_S < ledger.redis.ttl(keys.shares("acme")) <= 9 * shares.DAY_S


def test_only_the_customer_takes_a_share_back(ledger: Ledger) -> None:
    share = shares.create(ledger, make_interaction(), days=1)
    with pytest.raises(NotFound):
        shares.take_back(ledger, share.id, "bob")
    shares.take_back(ledger, share.id, "acme")
    with pytest.raises(NotFound):
        shares.get(ledger, share.id)


def test_erasing_a_customer_ends_all_shares_of_theirs(ledger: Ledger) -> None:
    mine = [shares.create(ledger, make_interaction(), days=1) for _ in range(3)]
    other = shares.create(ledger, make_interaction(customer="bob"), days=1)
    assert shares.erase(ledger, "acme") == 3
    assert shares.erase(ledger, "acme") == 0
    assert ledger.redis.exists(*(keys.share(share.id) for share in mine)) == 0
    assert shares.get(ledger, other.id) == other
