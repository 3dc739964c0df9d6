"""The right to run rounds, and the fence around everything that its holder writes.

One trainer holds the right for a while and renews it. A trainer that was stopped for longer (a hung machine, a paused
process) does not know that another one took over: so everyone who takes the right gets a number, every write carries
it, and the ledger refuses a number that is not the newest. Knows no rounds.
"""

from feedback import keys
from feedback.client import Ledger
from feedback.errors import LeaseLost

NO_FENCE = 0
"""Number of a writer that is no trainer: an operator or a command."""


def hold(ledger: Ledger, token: str, ttl_s: int, number: int = NO_FENCE) -> int:
    """Take or renew the right to run rounds.

    Args:
        ledger: where it is kept.
        token: tells this trainer from any other.
        ttl_s: seconds until the right runs out if it is not renewed.
        number: what an earlier call returned. A right that ran out, and that nobody took, is renewed under it.

    Returns:
        The holder's number, 0 if another trainer holds the right.
    """
    return int(ledger.run("fence_hold", [keys.ROUND_LOCK, keys.ROUND_FENCE], [token, ttl_s, number]))


def let_go(ledger: Ledger, token: str) -> None:
    """Give the right back, if ``token`` still holds it."""
    ledger.run("let_go", [keys.ROUND_LOCK], [token])


def write(ledger: Ledger, number: int, *changes: tuple[str, str, str]) -> None:
    """Make changes (key of a hash, field, record as JSON) in one move; an empty field deletes the key.

    Raises:
        LeaseLost: another trainer took over; nothing was written.
    """
    arguments = [word for _, field, record in changes for word in (field, record)]
    if not ledger.run("fence_write", [keys.ROUND_FENCE, *(key for key, *_ in changes)], [number, *arguments]):
        raise superseded(number)


def require(ledger: Ledger, number: int) -> None:
    """Check that nobody took over, before something that the ledger cannot guard.

    Raises:
        LeaseLost: another trainer did.
    """
    write(ledger, number)


def superseded(number: int) -> LeaseLost:
    """Return the error of a write that came too late."""
    return LeaseLost(f"trainer number {number} was superseded: another one took the right to run rounds over")
