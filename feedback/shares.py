"""Conversations that customers show to others: read-only copies of logged interactions, each with an end.

An id is a secret of 128 bits: who knows it may read. Knows no pages and no links.
"""

import secrets
from datetime import timedelta
from typing import cast

from feedback import keys
from feedback.client import Ledger, decode, encode
from feedback.errors import NotFound
from feedback.records import Interaction, Share, utc_now

DAY_S = 24 * 3600


def create(ledger: Ledger, interaction: Interaction, days: int) -> Share:
    """Share a copy of ``interaction`` for ``days`` and return it.

    It names no version: an answer may come from a blind battle that is still to be voted on.
    """
    now = utc_now()
    share = Share(
        id=secrets.token_urlsafe(16),
        created_at=now,
        expires_at=now + timedelta(days=days),
        customer=interaction.customer,
        interaction_id=interaction.id,
        messages=interaction.messages,
        completion=interaction.completion,
    )
    index = keys.shares(share.customer)
    with ledger.reach() as client, client.pipeline(transaction=True) as move:
        move.set(keys.share(share.id), encode(share), ex=days * DAY_S)
        move.sadd(index, share.id)
        move.expire(index, days * DAY_S, nx=True)
        move.expire(index, days * DAY_S, gt=True)
        move.execute()
    return share


def get(ledger: Ledger, id: str) -> Share:
    """Return a share.

    Raises:
        NotFound: it does not exist, was taken back or is over.
    """
    share = ledger.get(keys.share(id), Share)
    if share is None:
        raise NotFound("no such shared chat; it was taken back, or its time is over")
    return share


def of_customer(ledger: Ledger, customer: str) -> list[Share]:
    """Return what a customer shares now, oldest first."""
    with ledger.reach() as client:
        ids = sorted(cast(set[str], client.smembers(keys.shares(customer))))
        texts = cast(list[str | None], client.mget([keys.share(id) for id in ids])) if ids else []
    found = [decode(text, Share) for text in texts if text is not None]
    return sorted(found, key=lambda share: share.created_at)


def take_back(ledger: Ledger, id: str, customer: str) -> None:
    """End a customer's share.

    Raises:
        NotFound: the customer has no such share.
    """
    if get(ledger, id).customer != customer:
        raise NotFound("no such shared chat; it was taken back, or its time is over")
    with ledger.reach() as client, client.pipeline(transaction=True) as move:
        move.delete(keys.share(id))
        move.srem(keys.shares(customer), id)
        move.execute()


def erase(ledger: Ledger, customer: str) -> int:
    """End all shares of a customer; return how many there were."""
    index = keys.shares(customer)
    with ledger.reach() as client:
        ids = cast(set[str], client.smembers(index))
        client.delete(index, *(keys.share(id) for id in ids))
    return len(ids)
