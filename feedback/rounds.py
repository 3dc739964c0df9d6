"""Rounds of training: asked for, held by one trainer at a time, recorded stage by stage, cancelled.

``number`` is everywhere the writing trainer's (`feedback.fence`): a trainer that another one superseded writes nothing.
"""

import msgspec

from feedback import fence, keys
from feedback.client import Ledger, encode
from feedback.errors import ConfigError, Conflict, NotFound
from feedback.fence import NO_FENCE
from feedback.ids import policy_version
from feedback.records import Outlook, Round

KINDS = ("sft", "ppo")
OUTLOOK_S = 60
"""Seconds after which what a trainer said of the next round is forgotten: nobody repeats it."""


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


def begin(ledger: Ledger, record: Round, number: int = NO_FENCE) -> None:
    """Write a new round and take the request for it away, in one move.

    Raises:
        LeaseLost: another trainer took over.
    """
    new = (keys.ROUNDS, record.id, encode(record))
    fence.write(ledger, number, new, (keys.ROUND_REQUESTED, "", ""), (keys.ROUND_CANCEL, "", ""))


def save(ledger: Ledger, record: Round, number: int = NO_FENCE) -> None:
    """Write the present state of a round.

    Raises:
        LeaseLost: another trainer took over.
    """
    fence.write(ledger, number, (keys.ROUNDS, record.id, encode(record)))


def update(ledger: Ledger, record: Round, number: int = NO_FENCE, **changes: object) -> Round:
    """Write and return the round with some fields changed.

    Raises:
        LeaseLost: another trainer took over.
    """
    changed = msgspec.structs.replace(record, **changes)
    save(ledger, changed, number)
    return changed


def give_version(ledger: Ledger, record: Round, number: int = NO_FENCE) -> Round:
    """Return the round with the version of the policy that it makes; asked again, it is the same one.

    The number is taken from the counter in the same move that writes it to the round, so that no death in between
    leaves a gap.

    Raises:
        LeaseLost: another trainer took over.
    """
    count = 0
    while not record.version:
        numbered = msgspec.structs.replace(record, version=policy_version(count))
        places = [keys.ROUND_FENCE, keys.POLICY_COUNTER, keys.ROUNDS]
        answer = ledger.run("number_policy", places, [number, count, record.id, encode(numbered)])
        if answer[0] == "fenced":
            raise fence.superseded(number)
        if answer[0] == "done":
            return numbered
        count = int(answer[1])
    return record


def cancel(ledger: Ledger) -> str:
    """Tell the trainer to give up the round that runs, or take back the request for one.

    Returns:
        The id of the round that is to end, or "" when a request was taken back.

    Raises:
        Conflict: no round runs or is asked for.
    """
    running = current(ledger)
    with ledger.reach() as client:
        if running is not None:
            client.set(keys.ROUND_CANCEL, running.id)
            return running.id
        if not client.delete(keys.ROUND_REQUESTED):
            raise Conflict("no round is running or asked for")
        return ""


def is_cancelled(ledger: Ledger, round_id: str) -> bool:
    """Tell whether an operator wants this round to end."""
    with ledger.reach() as client:
        return bool(client.get(keys.ROUND_CANCEL) == round_id)


def set_outlook(ledger: Ledger, outlook: Outlook) -> None:
    """Tell operators what the next round waits for; forgotten unless said again."""
    with ledger.reach() as client:
        client.set(keys.ROUND_OUTLOOK, encode(outlook), ex=OUTLOOK_S)


def outlook(ledger: Ledger) -> Outlook | None:
    """Return what the trainer last said of the next round, None if no trainer is at work."""
    return ledger.get(keys.ROUND_OUTLOOK, Outlook)


def current(ledger: Ledger) -> Round | None:
    """Return the round that runs, or that waits for a trainer to go on with it."""
    return next((each for each in list_rounds(ledger) if each.state == "running"), None)


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


def hold(ledger: Ledger, token: str, ttl_s: int = 60, number: int = NO_FENCE) -> int:
    """Take or renew the right to run rounds; return the holder's number, 0 if another trainer holds it."""
    return fence.hold(ledger, token, ttl_s, number)


def let_go(ledger: Ledger, token: str) -> None:
    """Give the right to run rounds back, if ``token`` still holds it."""
    fence.let_go(ledger, token)
