"""Places for running sampling tasks: how many may run at once, over all workers.

Knows who holds a place until when; knows nothing of what is done there.
"""

from feedback import keys
from feedback.client import Ledger


def take(ledger: Ledger, places: int, token: str, ttl_s: int) -> int | None:
    """Take one of the places for running sampling tasks; None if all are taken.

    Bounds how many samplers run at once over all workers; a place that is not renewed is free after ``ttl_s``.
    """
    for place in range(places):
        if ledger.run("hold", [keys.sampler(place)], [token, ttl_s]):
            return place
    return None


def renew(ledger: Ledger, place: int, token: str, ttl_s: int) -> bool:
    """Renew a place; return False if somebody else has it by now."""
    return bool(ledger.run("hold", [keys.sampler(place)], [token, ttl_s]))


def leave(ledger: Ledger, place: int, token: str) -> None:
    """Free a place, if ``token`` still holds it."""
    ledger.run("let_go", [keys.sampler(place)], [token])
