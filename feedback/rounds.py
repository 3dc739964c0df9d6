"""Rounds of training: asked for, held by one trainer at a time, recorded stage by stage."""

import msgspec

from feedback import keys
from feedback.client import Ledger, encode
from feedback.errors import ConfigError, Conflict, NotFound
from feedback.records import Round

KINDS = ("sft", "ppo")


def request(ledger: Ledger, kind: str) -> None:
    """Ask the trainer for a round of this kind as soon as it is free.

    Raises:
        ConfigError: unknown kind.
        Conflict: a round is asked for already.
    """
    if kind not in KINDS:
        raise ConfigError(f"round kind {kind!r} is unknown; choose one of {', '.join(KINDS)}")
    with ledger.reach() as client:
        if not client.set(keys.ROUND_REQUESTED, kind, nx=True):
            raise Conflict("a round is already asked for and has not started yet")


def requested(ledger: Ledger) -> str:
    """Return the kind of round that was asked for, or an empty string."""
    with ledger.reach() as client:
        return str(client.get(keys.ROUND_REQUESTED) or "")


def begin(ledger: Ledger, record: Round) -> None:
    """Write a new round and take the request for it away, in one move."""
    with ledger.reach() as client, client.pipeline(transaction=True) as move:
        move.hset(keys.ROUNDS, record.id, encode(record))
        move.delete(keys.ROUND_REQUESTED)
        move.execute()


def save(ledger: Ledger, record: Round) -> None:
    """Write the present state of a round."""
    with ledger.reach() as client:
        client.hset(keys.ROUNDS, record.id, encode(record))


def update(ledger: Ledger, record: Round, **changes: object) -> Round:
    """Write and return the round with some fields changed."""
    changed = msgspec.structs.replace(record, **changes)
    save(ledger, changed)
    return changed


def get(ledger: Ledger, id: str) -> Round:
    """Return one round.

    Raises:
        NotFound: no such round.
    """
    found = ledger.hget(keys.ROUNDS, id, Round)
    if found is None:
        raise NotFound(f"no round {id!r}")
    return found


def list_rounds(ledger: Ledger) -> list[Round]:
    """Return all rounds, oldest first."""
    return ledger.hall(keys.ROUNDS, Round)


def hold(ledger: Ledger, token: str, ttl_s: int = 60) -> bool:
    """Take or renew the right to run rounds; False if another trainer holds it."""
    return bool(ledger.run("hold", [keys.ROUND_LOCK], [token, ttl_s]))


def let_go(ledger: Ledger, token: str) -> None:
    """Give the right to run rounds back, if ``token`` still holds it."""
    ledger.run("let_go", [keys.ROUND_LOCK], [token])
